//! `zfl console`

use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use zfl_lab::attach::{attach, newest};

use super::{Done, Failure};
use crate::arguments::ConsoleArguments;

/// Where runs are that nobody named a folder for.
const RUNS: &str = "runs";

/// Lines that are shown first on a terminal.
const TERMINAL_LINES: usize = 20;

/// So long the answers to what was typed are waited for after its end: longer
/// than the fleet host does for one.
const ANSWERS_DEADLINE: Duration = Duration::from_secs(20);

/// How often it is looked whether the end is there.
const PERIOD: Duration = Duration::from_millis(200);

/// `zfl console`
pub(crate) fn console(arguments: &ConsoleArguments) -> Done {
    let folder = match &arguments.run {
        Some(folder) => folder.clone(),
        None => newest(Path::new(RUNS)).ok_or_else(|| {
            Failure::Run(format!(
                "no devices run in any folder of {RUNS}/; name that of the run with --run"
            ))
        })?,
    };
    let is_terminal = io::stdin().is_terminal();
    let lines = match (arguments.lines, is_terminal) {
        (Some(lines), _) => lines,
        (None, true) => TERMINAL_LINES,
        (None, false) => 0,
    };
    let mut shown =
        attach(&folder, arguments.device, lines).map_err(|error| Failure::run(&error))?;
    let failed = |error: io::Error| Failure::Run(format!("failed to follow the console: {error}"));
    shown
        .get_ref()
        .set_read_timeout(Some(PERIOD))
        .map_err(failed)?;
    let keyboard = shown.get_ref().try_clone().map_err(failed)?;
    if is_terminal {
        complain!(
            "at the console of device {} of {}; Ctrl-C detaches",
            arguments.device,
            folder.display()
        );
    }
    let is_typed = Arc::new(AtomicBool::new(false));
    let typing = Arc::clone(&is_typed);
    // Ends with zfl, which does not wait for somebody who types nothing.
    std::thread::spawn(move || {
        type_lines(keyboard);
        typing.store(true, Ordering::Relaxed);
    });
    follow(&mut shown, &is_typed).map_err(failed)
}

/// Types the lines of standard input, and says at its end that there are no
/// more.
fn type_lines(mut keyboard: UnixStream) {
    for line in io::stdin().lock().split(b'\n').map_while(Result::ok) {
        if keyboard
            .write_all(&[line.as_slice(), b"\n"].concat())
            .is_err()
        {
            // The device has ended, which the other side tells.
            return;
        }
    }
    let _ = keyboard.shutdown(Shutdown::Write);
}

/// Prints lines until the other side ends them, or all is typed and no answer
/// comes.
fn follow(shown: &mut BufReader<UnixStream>, is_typed: &AtomicBool) -> io::Result<()> {
    let mut end = None;
    let mut line = Vec::new();
    loop {
        match shown.read_until(b'\n', &mut line) {
            Ok(0) => return Ok(()),
            Ok(_) => {
                say!("{}", String::from_utf8_lossy(&line).trim_end());
                line.clear();
            }
            // What was read of a line is kept.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock
                        | io::ErrorKind::TimedOut
                        | io::ErrorKind::Interrupted
                ) => {}
            // The fleet host has ended.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => return Err(error),
        }
        if is_typed.load(Ordering::Relaxed) {
            let end = *end.get_or_insert_with(|| Instant::now() + ANSWERS_DEADLINE);
            if Instant::now() >= end {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("no answer within {} s", ANSWERS_DEADLINE.as_secs()),
                ));
            }
        }
    }
}
