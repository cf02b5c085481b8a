//! Tells the sources which architecture of Cortex-M they are compiled for:
//! the guard of the stack differs.

fn main() {
    println!("cargo:rustc-check-cfg=cfg(armv8m)");
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("TARGET").is_ok_and(|target| target.starts_with("thumbv8m")) {
        println!("cargo:rustc-cfg=armv8m");
    }
}
