//! Trains and reports: over semihosting on a Cortex-M, on the terminal
//! elsewhere. The lines are the same.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod device {
    use core::fmt::Write as _;
    use core::panic::PanicInfo;

    use cortex_m_semihosting::{debug, hio};
    use zfl_bare_metal::{Statics, run};

    #[cortex_m_rt::entry]
    fn main() -> ! {
        // Of these the attribute makes references: once, so safely.
        static mut FLOAT: Statics<f32, f32> = Statics::new(0.0, 0.0);
        static mut FIXED: Statics<i16, i32> = Statics::new(0, 0);
        let result = match hio::hstdout() {
            Ok(mut out) => run(&mut out, FLOAT, FIXED).is_ok(),
            Err(()) => false,
        };
        exit(result)
    }

    fn exit(is_success: bool) -> ! {
        loop {
            debug::exit(if is_success {
                debug::EXIT_SUCCESS
            } else {
                debug::EXIT_FAILURE
            });
        }
    }

    #[panic_handler]
    fn on_panic(info: &PanicInfo<'_>) -> ! {
        if let Ok(mut out) = hio::hstdout() {
            // There is nobody left to tell.
            let _ = writeln!(out, "{info}");
        }
        exit(false)
    }
}

#[cfg(not(target_os = "none"))]
#[expect(clippy::print_stdout, reason = "it reports")]
fn main() -> Result<(), std::fmt::Error> {
    print!("{}", zfl_bare_metal::report()?);
    Ok(())
}
