//! `zfl completions`: what a shell needs to complete commands and options.

use std::io::Write;

use clap::{Command, CommandFactory};

use super::Done;
use crate::arguments::{Arguments, CompletionsArguments};

/// `zfl completions`
pub(crate) fn completions(arguments: &CompletionsArguments) -> Done {
    // Written at once: a reader that is gone misses it, as with all that is printed.
    let mut script = Vec::new();
    // Without what only zfl itself calls.
    let all = Arguments::command();
    let shown = all
        .get_subcommands()
        .filter(|command| !command.is_hide_set());
    let mut command = Command::new("zfl")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommands(shown.cloned());
    clap_complete::generate(arguments.shell, &mut command, "zfl", &mut script);
    let _ = std::io::stdout().write_all(&script);
    Ok(())
}
