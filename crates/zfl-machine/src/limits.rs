//! How many files this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a machine holds open in this process: console, process, log.
pub const DESCRIPTORS_PER_MACHINE: u64 = 3;

/// What else a process has open: standard streams, event loops, libraries,
/// the files of a run, and what passes through while a machine starts.
pub const DESCRIPTORS_RESERVED: u64 = 64;

/// The limit is too low and cannot be raised from here.
#[derive(Debug, thiserror::Error)]
#[error(
    "{needed} open files are needed and {allowed} allowed: run `ulimit -n {needed}` in this shell first (as root, or with a higher nofile in /etc/security/limits.conf)"
)]
pub struct DescriptorLimitError {
    /// How many are needed.
    pub needed: u64,
    /// The hard limit.
    pub allowed: u64,
}

/// How many files may be open now: the soft and the hard limit; `None` is
/// without limit.
pub fn descriptor_limits() -> (Option<u64>, Option<u64>) {
    let limit = getrlimit(Resource::Nofile);
    (limit.current, limit.maximum)
}

/// Makes sure that `needed` files can be open, raising the soft limit as far
/// as the hard one where it must.
///
/// # Errors
/// If the hard limit is lower than `needed`.
pub fn ensure_descriptors(needed: u64) -> Result<(), DescriptorLimitError> {
    let limit = getrlimit(Resource::Nofile);
    let fits = |limit: Option<u64>| limit.is_none_or(|limit| limit >= needed);
    if fits(limit.current) {
        return Ok(());
    }
    let error = |allowed: Option<u64>| DescriptorLimitError {
        needed,
        allowed: allowed.unwrap_or(u64::MAX),
    };
    if !fits(limit.maximum) {
        return Err(error(limit.maximum));
    }
    // Only as far as needed: some programs walk every descriptor there may be,
    // and the machines inherit the limit.
    let raised = Rlimit {
        current: Some(needed),
        ..limit
    };
    setrlimit(Resource::Nofile, raised).map_err(|_| error(limit.current))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_raised_as_far_as_needed() {
        let (soft, hard) = descriptor_limits();
        let soft = soft.unwrap();
        ensure_descriptors(soft).unwrap();
        assert_eq!(descriptor_limits().0, Some(soft));
        if hard.is_none_or(|hard| hard > soft) {
            ensure_descriptors(soft + 1).unwrap();
            assert_eq!(descriptor_limits(), (Some(soft + 1), hard));
        }
    }

    #[test]
    fn more_than_the_hard_limit_is_an_error_with_its_remedy() {
        let error = ensure_descriptors(u64::MAX - 1).unwrap_err().to_string();
        assert!(
            error.contains("run `ulimit -n 18446744073709551614`"),
            "{error}"
        );
    }
}
