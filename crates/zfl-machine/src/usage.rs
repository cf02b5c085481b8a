//! What a machine's process uses: processor time and memory.

use std::fs;

/// Processor time and memory of one process, in host time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Processor time in user mode so far, in seconds (steps of 10 ms).
    pub cpu_user_seconds: f64,
    /// Processor time in the kernel so far, in seconds (steps of 10 ms).
    pub cpu_system_seconds: f64,
    /// The most proportional set size that was sampled, in bytes: memory,
    /// shared pages divided by those who share them. 0 before a sample.
    pub pss_bytes_max: u64,
}

impl Usage {
    /// Processor time so far, in seconds.
    pub fn cpu_seconds(&self) -> f64 {
        self.cpu_user_seconds + self.cpu_system_seconds
    }

    /// What two machines used together: of memory the most that either did.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self {
            cpu_user_seconds: self.cpu_user_seconds + other.cpu_user_seconds,
            cpu_system_seconds: self.cpu_system_seconds + other.cpu_system_seconds,
            pss_bytes_max: self.pss_bytes_max.max(other.pss_bytes_max),
        }
    }

    /// Reads the processor time of a process; leaves it where there is no
    /// such process. A process that has ended but was not waited for still
    /// has its time.
    pub(crate) fn sample_cpu(&mut self, process: u32) {
        let stat = fs::read_to_string(format!("/proc/{process}/stat"));
        let ticks_per_second = rustix::param::clock_ticks_per_second();
        if let Some((user, system)) = stat.ok().and_then(|stat| cpu_ticks(&stat)) {
            self.cpu_user_seconds = user / ticks_per_second as f64;
            self.cpu_system_seconds = system / ticks_per_second as f64;
        }
    }

    /// Reads the memory of a process.
    pub(crate) fn sample_pss(&mut self, process: u32) {
        let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup"));
        if let Some(bytes) = rollup.ok().and_then(|rollup| pss_bytes(&rollup)) {
            self.pss_bytes_max = self.pss_bytes_max.max(bytes);
        }
    }
}

/// Fields 14 and 15 of `/proc/PID/stat` (proc_pid_stat(5)). Field 2 is the
/// program's name in parentheses and may hold anything.
fn cpu_ticks(stat: &str) -> Option<(f64, f64)> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// The line `Pss: N kB` of `/proc/PID/smaps_rollup`.
fn pss_bytes(rollup: &str) -> Option<u64> {
    let line = rollup
        .lines()
        .find_map(|line| line.strip_prefix("Pss:"))?
        .trim();
    let kilobytes: u64 = line.strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_program_may_hold_anything() {
        let stat = "12 (a) b 1 (c)) S 1 12 12 0 -1 4194560 900 0 1 0 71 9 0 0 20 0 3 0 5";
        assert_eq!(cpu_ticks(stat), Some((71.0, 9.0)));
        for bad in ["", "12 (a)", "12 (a) S 1 2", "12 (a"] {
            assert_eq!(cpu_ticks(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_proportional_set_size_is_read_in_bytes() {
        let rollup = "0-7fff ---p 0 00:00 0   [rollup]\nRss:   9000 kB\nPss:        11 kB\nPss_Dirty: 5 kB\n";
        assert_eq!(pss_bytes(rollup), Some(11 * 1024));
        assert_eq!(pss_bytes("Rss: 1 kB\n"), None);
    }

    #[test]
    fn this_process_uses_something() {
        let mut usage = Usage::default();
        usage.sample_pss(std::process::id());
        assert!(usage.pss_bytes_max > 100_000, "{usage:?}");
        // Steps of 10 ms: work until one has passed.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while usage.cpu_seconds() == 0.0 && std::time::Instant::now() < deadline {
            usage.sample_cpu(std::process::id());
        }
        assert!(usage.cpu_seconds() > 0.0, "{usage:?}");
    }
}
