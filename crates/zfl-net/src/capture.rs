//! Frames in files that Wireshark and tshark read: pcapng.
//!
//! A capture sees each frame once, when its sender puts it into a device's link:
//! frames of the device at its end, frames to it at the switch's. So it holds
//! the frames that the link or its queue drops, with the reason as a comment,
//! and in the order in which a sender sent them, from which a reader tells what
//! was sent again. Directions are the device's: inbound goes to it.
//!
//! The network's thread copies a frame into a queue and goes on; a thread of the
//! capture's own writes. Where that cannot keep up, frames are left out of the
//! file, and the next that is in it says how many (`epb_dropcount`). Files grow
//! by whole blocks, and are whole whenever the network is quiet.

use core::time::Duration;
use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::SystemTime;

use pcap_file::DataLink;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption, InterfaceTsResolution,
};
use pcap_file::pcapng::blocks::opt_common::CommonOption;
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::pcapng::{PcapNgBlock, PcapNgWriter};

use crate::counters::DropReason;
use crate::frame::{FRAME_BYTES_MAX, Frame};
use crate::network::Tap;
use crate::switch::{Direction, TapEvent};
use crate::time::NetworkTime;

/// Frames that may wait to be written: 25 MB of the largest.
const QUEUE_FRAMES_MAX: usize = 16_384;

/// Bytes of a file that are written together.
const BUFFER_BYTES: usize = 64 * 1024;

/// What a frame takes in a file besides its bytes, at most: head, padding,
/// options and the longest of the comments.
const BLOCK_OVERHEAD_BYTES: usize = 128;

/// `epb_flags`: which way a frame went.
const FLAG_INBOUND: u32 = 1;
const FLAG_OUTBOUND: u32 = 2;

/// A file of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureFile {
    /// Where it is. What there is already is kept: a new section follows.
    pub path: PathBuf,
    /// The devices whose frames it takes, each an interface of that name.
    pub devices: Vec<(usize, String)>,
}

/// What is captured, and how much of it.
pub struct CaptureOptions {
    /// The files; no device is in two.
    pub files: Vec<CaptureFile>,
    /// Bytes that all files together may have.
    pub bytes_max: u64,
    /// Is told when the capture ends before the network does.
    pub ended: Box<dyn FnOnce(&CaptureError) + Send + Sync>,
}

/// Why a capture could not begin, or ended early.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// A file could not be written.
    #[error("failed to write the capture {}: {source}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It has grown as large as it may.
    #[error("the capture has reached its limit of {bytes_max} bytes")]
    Full {
        /// The limit.
        bytes_max: u64,
    },
    /// The thread could not be started.
    #[error("failed to start the thread of the capture: {0}")]
    Thread(io::Error),
}

/// What was captured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaptureReport {
    /// Frames in the files.
    pub frames: u64,
    /// Frames that were left out, because the writer could not keep up.
    pub left_out_frames: u64,
    /// Bytes of the files.
    pub bytes: u64,
}

/// A running capture. Its files are whole when it has been finished.
#[derive(Debug)]
pub struct Capture {
    writer: JoinHandle<CaptureReport>,
    left_out_frames: Arc<AtomicU64>,
}

/// A frame on its way to the writer.
struct Captured {
    /// Where it goes: a place in the writer's files, and an interface there.
    place: Place,
    at: NetworkTime,
    direction: Direction,
    dropped: Option<DropReason>,
    /// Frames of the same interface that were left out before it.
    left_out_before: u64,
    frame: Frame,
}

#[derive(Clone, Copy)]
struct Place {
    file: usize,
    interface: u32,
}

impl Capture {
    /// Opens the files. The tap is for [`crate::NetworkOptions`]; the network
    /// is to be started at once, for its time is counted from now.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn start(options: CaptureOptions) -> Result<(Self, Tap), CaptureError> {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let mut tap = Tapped {
            queue: None,
            places: Vec::new(),
            is_over: Arc::default(),
            left_out_frames: Arc::default(),
        };
        let mut devices = Vec::new();
        for (file, of_file) in options.files.iter().enumerate() {
            for (interface, (device, _)) in (0..).zip(&of_file.devices) {
                if tap.places.len() <= *device {
                    tap.places.resize(*device + 1, None);
                }
                if let Some(place) = tap.places.get_mut(*device) {
                    *place = Some((Place { file, interface }, 0));
                }
                devices.push(*device);
            }
        }
        let mut writer = Writer {
            files: options
                .files
                .into_iter()
                .map(Output::open)
                .collect::<Result<_, _>>()?,
            // A clock before 1970 is shown as 1970.
            began: since_1970.unwrap_or_default(),
            bytes_max: options.bytes_max,
        };
        let (sender, receiver) = sync_channel(QUEUE_FRAMES_MAX);
        let (is_over, ended) = (Arc::clone(&tap.is_over), options.ended);
        let run = move || {
            if let Err(error) = writer.run(&receiver) {
                is_over.store(true, Ordering::Relaxed);
                ended(&error);
            }
            writer.report()
        };
        let capture = Self {
            left_out_frames: Arc::clone(&tap.left_out_frames),
            writer: std::thread::Builder::new()
                .name("zfl-capture".into())
                .spawn(run)
                .map_err(CaptureError::Thread)?,
        };
        tap.queue = Some(sender);
        let show = Box::new(move |event: TapEvent<'_>| tap.take(&event));
        Ok((capture, Tap { devices, show }))
    }

    /// Waits until all is written that was captured. To be called when the
    /// network has been shut down: it ends with the tap.
    pub fn finish(self) -> CaptureReport {
        let report = self.writer.join().unwrap_or_default();
        CaptureReport {
            left_out_frames: self.left_out_frames.load(Ordering::Relaxed),
            ..report
        }
    }
}

/// The end of the capture in the network's thread.
struct Tapped {
    queue: Option<SyncSender<Captured>>,
    /// Where the frames of each device go, and how many were left out since the
    /// last that went there.
    places: Vec<Option<(Place, u64)>>,
    is_over: Arc<AtomicBool>,
    left_out_frames: Arc<AtomicU64>,
}

impl Tapped {
    fn take(&mut self, event: &TapEvent<'_>) {
        let (Some(queue), Some(Some((place, left_out)))) =
            (&self.queue, self.places.get_mut(event.port))
        else {
            return;
        };
        if self.is_over.load(Ordering::Relaxed) {
            self.queue = None;
            return;
        }
        let captured = Captured {
            place: *place,
            at: event.at,
            direction: event.direction,
            dropped: event.dropped,
            left_out_before: *left_out,
            frame: event.frame.to_vec(),
        };
        match queue.try_send(captured) {
            Ok(()) => *left_out = 0,
            Err(TrySendError::Full(_)) => {
                *left_out += 1;
                self.left_out_frames.fetch_add(1, Ordering::Relaxed);
            }
            Err(TrySendError::Disconnected(_)) => self.queue = None,
        }
    }
}

/// A file that is written.
struct Output {
    path: PathBuf,
    file: File,
    /// Whole blocks that are not in the file yet.
    blocks: PcapNgWriter<Vec<u8>>,
    /// Bytes of the file.
    bytes: u64,
    /// Frames of this capture that are in it.
    frames: u64,
    frames_waiting: u64,
}

impl Output {
    /// Opens the file and writes who is in it.
    fn open(capture: CaptureFile) -> Result<Self, CaptureError> {
        let CaptureFile { path, devices } = capture;
        let (file, bytes) = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&path)
            .and_then(|file| file.metadata().map(|metadata| (file, metadata.len())))
            .map_err(|error| failed(&path, error))?;
        let program = concat!("zfl ", env!("CARGO_PKG_VERSION"));
        let section = SectionHeaderBlock {
            options: vec![SectionHeaderOption::UserApplication(program.into())],
            ..SectionHeaderBlock::default()
        };
        let blocks = PcapNgWriter::with_section_header(Vec::new(), section);
        let mut output = Self {
            blocks: blocks.map_err(|error| failed(&path, io::Error::other(error)))?,
            path,
            file,
            bytes,
            frames: 0,
            frames_waiting: 0,
        };
        for (_, name) in devices {
            let mut interface = InterfaceDescriptionBlock::new(DataLink::ETHERNET, SNAP_BYTES);
            interface.options = vec![
                InterfaceDescriptionOption::IfName(Cow::Owned(name)),
                InterfaceDescriptionOption::IfTsResol(InterfaceTsResolution::NANO),
            ];
            output.put(interface)?;
        }
        output.flush()?;
        Ok(output)
    }

    /// Adds a block to those that are to be written.
    fn put<'a>(&mut self, block: impl PcapNgBlock<'a>) -> Result<(), CaptureError> {
        match self.blocks.write_pcapng_block(block) {
            Ok(_) => Ok(()),
            Err(error) => Err(failed(&self.path, io::Error::other(error))),
        }
    }

    /// Writes the blocks to the file. Where that fails, it is as it was.
    fn flush(&mut self) -> Result<(), CaptureError> {
        let blocks = self.blocks.get_mut();
        if let Err(source) = self.file.write_all(blocks) {
            // Where even that fails, the last block is cut off.
            let _ = self.file.set_len(self.bytes);
            return Err(failed(&self.path, source));
        }
        self.bytes += blocks.len() as u64;
        blocks.clear();
        self.frames += std::mem::take(&mut self.frames_waiting);
        Ok(())
    }
}

fn failed(path: &Path, source: io::Error) -> CaptureError {
    CaptureError::Write {
        path: path.to_owned(),
        source,
    }
}

/// Longer frames do not pass the switch; those of devices that try are cut off.
const SNAP_BYTES: u32 = FRAME_BYTES_MAX as u32 + 1;

/// The end of the capture in its own thread.
struct Writer {
    files: Vec<Output>,
    /// When the network's time began, since 1970.
    began: Duration,
    bytes_max: u64,
}

impl Writer {
    /// Writes what comes until the network has ended.
    fn run(&mut self, queue: &Receiver<Captured>) -> Result<(), CaptureError> {
        loop {
            let captured = match queue.try_recv() {
                Ok(captured) => captured,
                Err(TryRecvError::Disconnected) => return self.flush(),
                Err(TryRecvError::Empty) => {
                    self.flush()?;
                    match queue.recv() {
                        Ok(captured) => captured,
                        Err(_) => return Ok(()),
                    }
                }
            };
            self.write(&captured)?;
        }
    }

    fn write(&mut self, captured: &Captured) -> Result<(), CaptureError> {
        let needed = captured.frame.len() + BLOCK_OVERHEAD_BYTES;
        if self.bytes() + needed as u64 > self.bytes_max {
            self.flush()?;
            return Err(CaptureError::Full {
                bytes_max: self.bytes_max,
            });
        }
        let Some(output) = self.files.get_mut(captured.place.file) else {
            return Ok(());
        };
        let mut options = vec![EnhancedPacketOption::Flags(match captured.direction {
            Direction::ToDevice => FLAG_INBOUND,
            Direction::FromDevice => FLAG_OUTBOUND,
        })];
        if captured.left_out_before > 0 {
            options.push(EnhancedPacketOption::DropCount(captured.left_out_before));
        }
        if let Some(reason) = captured.dropped {
            let comment = Cow::Owned(format!("dropped: {reason}"));
            options.push(EnhancedPacketOption::Common(CommonOption::Comment(comment)));
        }
        let block = EnhancedPacketBlock {
            interface_id: captured.place.interface,
            timestamp: self.began + captured.at.as_duration(),
            original_len: u32::try_from(captured.frame.len()).unwrap_or(u32::MAX),
            data: Cow::Borrowed(&captured.frame),
            options,
        };
        output.put(block)?;
        output.frames_waiting += 1;
        if output.blocks.get_ref().len() >= BUFFER_BYTES {
            output.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), CaptureError> {
        self.files.iter_mut().try_for_each(Output::flush)
    }

    /// Bytes of all files, once they are flushed.
    fn bytes(&self) -> u64 {
        let bytes = |output: &Output| output.bytes + output.blocks.get_ref().len() as u64;
        self.files.iter().map(bytes).sum()
    }

    fn report(&self) -> CaptureReport {
        CaptureReport {
            frames: self.files.iter().map(|output| output.frames).sum(),
            left_out_frames: 0,
            bytes: self.files.iter().map(|output| output.bytes).sum(),
        }
    }
}
