//! What a program uses, by the kernel's account.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::Error;

/// The unit of times in `/proc`, fixed by the kernel's interface.
const TICKS_PER_SECOND: f64 = 100.0;
/// How often the peak of the memory is looked at: what grew since the last
/// look is missed.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What a run of a program used.
#[derive(Clone, Debug)]
pub(super) struct Used {
    /// Processor time, of programs that it ran itself as well.
    pub(super) cpu_seconds: f64,
    pub(super) wall_seconds: f64,
    /// The largest resident set of the program itself.
    pub(super) peak_bytes: u64,
    /// What it printed.
    pub(super) output: String,
}

/// Runs a program to its end. No other may run at the same time: the time of
/// all programs that this process ever ran is looked at before and after.
pub(super) fn measure(command: &mut Command) -> Result<Used, Error> {
    let before = cpu_seconds();
    let began = Instant::now();
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .map_err(|error| Error::run(command, &error))?;
    let mut pipes = (child.stdout.take(), child.stderr.take());
    let said = std::thread::spawn(move || read_all(pipes.0.as_mut()));
    let complained = std::thread::spawn(move || read_all(pipes.1.as_mut()));
    let mut peak_bytes = 0;
    let status = loop {
        let status = child.try_wait();
        match status.map_err(|error| Error::run(command, &error))? {
            Some(status) => break status,
            None => {
                peak_bytes = peak_bytes.max(peak_bytes_of(child.id()).unwrap_or(0));
                std::thread::sleep(LOOK_EVERY);
            }
        }
    };
    let wall_seconds = began.elapsed().as_secs_f64();
    let (output, complaint) = (
        said.join().unwrap_or_default(),
        complained.join().unwrap_or_default(),
    );
    if !status.success() {
        return Err(Error::run(command, &format!("{status}: {complaint}")));
    }
    Ok(Used {
        cpu_seconds: cpu_seconds() - before,
        wall_seconds,
        peak_bytes,
        output,
    })
}

fn read_all(pipe: Option<&mut impl Read>) -> String {
    let mut bytes = Vec::new();
    // What was read until an error is what there is.
    let _ = pipe.map(|pipe| pipe.read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Processor time of all programs that this process ran and that have ended.
fn cpu_seconds() -> f64 {
    std::fs::read_to_string("/proc/self/stat")
        .ok()
        .and_then(|stat| cpu_seconds_of_children(&stat))
        .unwrap_or(0.0)
}

/// `cutime` and `cstime`, fields 16 and 17 of proc(5). The name of the
/// program, field 2, may hold anything and ends with the last bracket.
fn cpu_seconds_of_children(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(13);
    let mut next = || fields.next()?.parse::<f64>().ok();
    Some((next()? + next()?) / TICKS_PER_SECOND)
}

fn peak_bytes_of(process: u32) -> Option<u64> {
    peak_bytes_in(&std::fs::read_to_string(format!("/proc/{process}/status")).ok()?)
}

fn peak_bytes_in(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_read() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 50 60 1234 66 20 0 1 0 9";
        assert_eq!(cpu_seconds_of_children(stat), Some(13.0));
        assert_eq!(cpu_seconds_of_children("7 (a"), None);
        let status = "Name:\tx\nVmPeak:\t  999 kB\nVmHWM:\t  1024 kB\n";
        assert_eq!(peak_bytes_in(status), Some(1 << 20));
        assert_eq!(peak_bytes_in("Name:\tx\n"), None);
    }

    #[test]
    fn a_program_is_measured() {
        // Busy for more than a tick, then idle, so that its memory is seen.
        let script = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo done; sleep 0.1";
        let used = measure(Command::new("sh").args(["-c", script])).unwrap();
        assert_eq!(used.output, "done\n");
        assert!(used.cpu_seconds > 0.0, "{used:?}");
        assert!(used.wall_seconds > 0.1, "{used:?}");
        assert!(used.peak_bytes > 100_000, "{used:?}");
    }

    #[test]
    fn a_failure_says_why() {
        let error = measure(Command::new("sh").args(["-c", "echo no >&2; exit 3"])).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("exit status: 3: no"), "{text}");
    }
}
