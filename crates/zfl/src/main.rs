//! The `zfl` command line.
//!
//! It reads arguments, calls `zfl-lab`, shows progress and turns errors into
//! diagnostics and exit codes: 1 a run failed (or would not fit its boards), 2 what
//! was asked for makes no sense, 130 interrupted.

/// Prints a line. A reader that is gone (`zfl run … | head`) misses it and
/// changes nothing else: a run goes on, and its records have it all.
macro_rules! say {
    ($($argument:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stdout(), $($argument)*);
    }};
}

/// Prints a line on standard error, as [`say`] does.
macro_rules! complain {
    ($($argument:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), $($argument)*);
    }};
}

mod arguments;
mod commands;
mod display;

use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command, DataCommand};
use commands::Failure;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Command::Run(run) => commands::run::run(&run),
        Command::Sweep(sweep) => commands::sweep::sweep(&sweep),
        Command::Serve(serve) => commands::run::serve(&serve),
        Command::Fleet(fleet) => commands::fleet::fleet(&fleet),
        Command::Size(size) => commands::size::size(&size),
        Command::Platforms(platforms) => commands::platforms::platforms(&platforms),
        Command::Calibrate(calibrate) => commands::calibrate::calibrate(&calibrate),
        Command::Console(console) => commands::console::console(&console),
        Command::Report(report) => commands::report::report(&report),
        Command::Boards => commands::boards(),
        Command::Links(links) => commands::links::links(&links),
        Command::List(list) => commands::list::list(&list),
        Command::Compare(compare) => commands::compare::compare(&compare),
        Command::Export(export) => commands::export::export(&export),
        Command::Completions(shell) => commands::completions::completions(&shell),
        Command::Doctor(doctor) => commands::doctor(&doctor),
        Command::Data(DataCommand::Show(show)) => commands::data::show(&show),
        Command::Data(DataCommand::Fetch(fetch)) => commands::data::fetch(&fetch),
        // Replaces this process, or says why not.
        Command::ExecMachine { arguments } => {
            let error = zfl_machine::exec_machine(arguments);
            Err(Failure::Run(format!(
                "failed to start the emulator: {error}"
            )))
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
