//! Captures: whatever frames there are, a reader finds the same in the file,
//! which grows no larger than it may.

use std::fs::File;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use pcap_file::pcapng::{Block, PcapNgReader};
use zfl_net::DropReason;
use zfl_net::capture::{Capture, CaptureError, CaptureFile, CaptureOptions};
use zfl_net::frame::FRAME_BYTES_MAX;
use zfl_net::switch::{Direction, TapEvent};
use zfl_net::time::NetworkTime;

use crate::input::Input;

const DEVICES: usize = 3;

/// In memory, where there is such a folder.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| crate::targets::scratch("pcapng"));
static HAS_ENDED: AtomicBool = AtomicBool::new(false);

/// How much there may be, who is captured, and frames; and once more, behind
/// what is in the file.
pub(crate) fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut frames = Vec::new();
    for _ in 0..2 {
        let bytes_max = match input.word() {
            0 => u64::MAX,
            kibibytes => u64::from(kibibytes) << (input.byte() & 7),
        };
        let count = usize::from(input.byte());
        section(&mut input, count, bytes_max, &mut frames);
    }
    std::fs::remove_file(&*FILE).expect("the file that was written");
}

/// A frame that was shown: its device's name, and its bytes.
type Shown = (String, Vec<u8>);

fn section(input: &mut Input<'_>, count: usize, bytes_max: u64, before: &mut Vec<Shown>) {
    let name = String::from_utf8_lossy(input.bytes(8)).into_owned();
    let names = [0, 1, 2].map(|device| format!("{device}{name}"));
    HAS_ENDED.store(false, Ordering::SeqCst);
    let options = CaptureOptions {
        files: vec![CaptureFile {
            path: FILE.clone(),
            devices: names.iter().cloned().enumerate().collect(),
        }],
        bytes_max,
        ended: Box::new(|error| {
            assert!(matches!(error, CaptureError::Full { .. }), "{error}");
            HAS_ENDED.store(true, Ordering::SeqCst);
        }),
    };
    let bytes_before = std::fs::metadata(&*FILE).map_or(0, |metadata| metadata.len());
    let (capture, mut tap) = Capture::start(options).expect("room for a file");
    assert_eq!(tap.devices, [0, 1, 2]);
    let mut shown = Vec::new();
    for _ in 0..count {
        let (how, at) = (input.byte(), input.word());
        let device = usize::from(how >> 6);
        let frame = input.block();
        let frame = &frame[..frame.len().min(FRAME_BYTES_MAX)];
        let reasons = DropReason::ALL;
        let is_dropped = how & 0x10 == 0x10;
        (tap.show)(TapEvent {
            at: NetworkTime::from_micros(u64::from(at)),
            port: device,
            direction: match how & 0x20 {
                0 => Direction::FromDevice,
                _ => Direction::ToDevice,
            },
            frame,
            dropped: is_dropped.then(|| reasons[usize::from(how & 15) % reasons.len()]),
        });
        if device < DEVICES {
            shown.push((names[device].clone(), frame.to_vec()));
        }
    }
    drop(tap);
    let report = capture.finish();
    assert_eq!(report.left_out_frames, 0, "there is room for all of these");
    let bytes = std::fs::metadata(&*FILE).expect("a file").len();
    assert_eq!(report.bytes, bytes);
    // What was there is kept, and what says who is in it comes first.
    let has_ended = HAS_ENDED.load(Ordering::SeqCst);
    assert!(
        bytes <= bytes_max.max(bytes_before + 1024),
        "{bytes} of {bytes_max}"
    );
    let written = usize::try_from(report.frames).expect("few");
    assert!(written == shown.len() || has_ended && written < shown.len());
    before.extend(shown.into_iter().take(written));
    assert_eq!(read(), *before);
}

/// The frames of the file, by a reader that is not zfl's.
fn read() -> Vec<Shown> {
    let file = File::open(&*FILE).expect("a file");
    let mut reader = PcapNgReader::new(file).expect("a capture");
    let mut names: Vec<String> = Vec::new();
    let mut found = Vec::new();
    while let Some(block) = reader.next_block() {
        match block.expect("a whole block").0 {
            Block::SectionHeader(_) => names.clear(),
            Block::InterfaceDescription(interface) => {
                use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionOption;
                let name = interface.options.iter().find_map(|option| match option {
                    InterfaceDescriptionOption::IfName(name) => Some(name.to_string()),
                    _ => None,
                });
                names.push(name.expect("the device's name"));
            }
            Block::EnhancedPacket(packet) => {
                assert_eq!(packet.original_len as usize, packet.data.len());
                let name = &names[packet.interface_id as usize];
                found.push((name.clone(), packet.data.to_vec()));
            }
            block => panic!("{block:?}"),
        }
    }
    found
}
