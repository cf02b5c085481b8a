//! Tells the sources whether the target computes `f32` in software: a stable
//! compiler does not say whether a RISC-V has the `F` extension.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(software_float)");
    let target = std::env::var("TARGET").unwrap_or_default();
    let architecture = target.split('-').next().unwrap_or_default();
    let is_software = match architecture.strip_prefix("riscv32") {
        Some(extensions) => !extensions.contains(['f', 'g']),
        None => architecture.starts_with("thumb") && !target.ends_with("hf"),
    };
    if is_software {
        println!("cargo::rustc-cfg=software_float");
    }
}
