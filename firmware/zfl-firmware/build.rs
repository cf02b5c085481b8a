//! Tells the sources about the processor what the compiler does not: whether it
//! is an Armv8-M, whose stack is guarded in another way, and whether a RISC-V
//! has floating-point registers.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(armv8m, hardware_float)");
    let target = std::env::var("TARGET").unwrap_or_default();
    if target.starts_with("thumbv8m") {
        println!("cargo:rustc-cfg=armv8m");
    }
    let extensions = target
        .strip_prefix("riscv32")
        .and_then(|rest| rest.split('-').next());
    if extensions.is_some_and(|extensions| extensions.contains('f')) {
        println!("cargo:rustc-cfg=hardware_float");
    }
}
