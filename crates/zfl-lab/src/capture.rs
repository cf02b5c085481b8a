//! Whose frames a run keeps, and in which files.

use std::collections::BTreeSet;
use std::num::ParseIntError;
use std::path::Path;
use std::str::FromStr;

use zfl_net::capture::CaptureFile;

/// The sub-folder of a run's folder.
pub const FOLDER: &str = "captures";

/// What is to be captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureRequest {
    /// Whose frames.
    pub devices: CaptureDevices,
    /// Bytes that all files together may have.
    pub bytes_max: u64,
}

/// Whose frames are captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaptureDevices {
    /// Of all devices of the fleet, in one file: a thousand files would take a
    /// descriptor each, and one has all in the order of time.
    All,
    /// Of these, by their number in the fleet: a file each.
    These(BTreeSet<usize>),
}

/// Text that names no devices.
#[derive(Debug, thiserror::Error)]
#[error("expected `all`, or numbers of devices such as 0 or 0,3,7")]
pub struct NoDevices;

impl FromStr for CaptureDevices {
    type Err = NoDevices;

    fn from_str(text: &str) -> Result<Self, NoDevices> {
        if text == "all" {
            return Ok(Self::All);
        }
        let numbers: Result<_, ParseIntError> = text.split(',').map(str::parse).collect();
        numbers.map(Self::These).map_err(|_| NoDevices)
    }
}

/// Why frames cannot be captured as they were asked for.
#[derive(Debug, thiserror::Error)]
pub enum CaptureRequestError {
    /// There are fewer devices.
    #[error(
        "device {device} cannot be captured: the fleet has {devices}, numbered from 0 (a device \
         has the number of its console's file)"
    )]
    NoSuchDevice {
        /// Which was asked for.
        device: usize,
        /// How many there are.
        devices: usize,
    },
    /// Nobody is emulated.
    #[error("there is nothing to capture: no client of this run is emulated")]
    NoFleet,
    /// The kernel moves the frames.
    #[error(
        "frames on a bridge cannot be captured by zfl: use `network = \"switch\"`, or tcpdump in the \
         run's network namespace"
    )]
    Bridge,
}

impl CaptureRequest {
    /// Checks that there are such devices.
    ///
    /// # Errors
    /// When there are not.
    pub fn check(&self, devices: usize) -> Result<(), CaptureRequestError> {
        if devices == 0 {
            return Err(CaptureRequestError::NoFleet);
        }
        match &self.devices {
            CaptureDevices::These(numbers) => match numbers.last() {
                Some(&device) if device >= devices => {
                    Err(CaptureRequestError::NoSuchDevice { device, devices })
                }
                _ => Ok(()),
            },
            CaptureDevices::All => Ok(()),
        }
    }

    /// The files in a run's folder, for a fleet of so many devices.
    pub fn files(&self, folder: &Path, devices: usize) -> Vec<CaptureFile> {
        let name = |device| format!("device-{device:03}");
        let folder = folder.join(FOLDER);
        match &self.devices {
            CaptureDevices::All => vec![CaptureFile {
                path: folder.join("all.pcapng"),
                devices: (0..devices).map(|device| (device, name(device))).collect(),
            }],
            CaptureDevices::These(numbers) => numbers
                .iter()
                .map(|device| CaptureFile {
                    path: folder.join(format!("{}.pcapng", name(*device))),
                    devices: vec![(*device, name(*device))],
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> CaptureRequest {
        CaptureRequest {
            devices: text.parse().unwrap(),
            bytes_max: 1,
        }
    }

    fn paths(text: &str) -> Vec<String> {
        let files = request(text).files(Path::new("run"), 20);
        let path = |file: &CaptureFile| file.path.display().to_string();
        files.iter().map(path).collect()
    }

    #[test]
    fn devices_are_named_by_numbers_or_all() {
        assert_eq!(paths("12"), ["run/captures/device-012.pcapng"]);
        let two = [
            "run/captures/device-000.pcapng",
            "run/captures/device-003.pcapng",
        ];
        assert_eq!(paths("3,0,3"), two);
        assert_eq!(paths("all"), ["run/captures/all.pcapng"]);
        let files = request("all").files(Path::new("run"), 2);
        assert_eq!(files[0].devices[1], (1, "device-001".to_owned()));
        for text in ["", "everything", "1,", "1, 2", "-1", "0-3"] {
            assert!(text.parse::<CaptureDevices>().is_err(), "{text}");
        }
    }

    #[test]
    fn devices_must_be_there() {
        assert!(request("0,3").check(4).is_ok());
        let error = request("0,4").check(4).unwrap_err().to_string();
        assert!(
            error.starts_with("device 4 cannot be captured: the fleet has 4"),
            "{error}"
        );
        assert!(request("all").check(0).is_err());
    }
}
