//! The binary messages: a small header, then values as they lie in memory.
//!
//! All numbers are little-endian. A message is a header and a payload; the
//! header carries its own length, the payload's length and the payload's
//! CRC-32 (IEEE 802.3), so that a device can check everything before it
//! touches its model and then stream the payload straight into place.
//!
//! | offset | size | every header |
//! |---|---|---|
//! | 0 | 4 | `ZFL1` |
//! | 4 | 1 | kind: 1 assignment, 2 samples, 3 labels, 4 start, 5 update |
//! | 5 | 1 | [`Encoding`] of the payload: 0 none, 1 `f32`, 2 `u8`, 3 to 5 fixed point |
//! | 6 | 2 | length of this header in bytes |
//! | 8 | 4 | client |
//! | 12 | 4 | length of the payload in bytes |
//! | 16 | 4 | CRC-32 of the payload |
//!
//! What follows depends on the kind and is listed at [`Assignment`],
//! [`DataHeader`], [`StartHeader`] and [`UpdateHeader`]. A header that is
//! longer than this version writes is accepted and its tail ignored.

use core::fmt;

use crate::http::EntityTag;
use crate::{ClientId, RoundIndex};

/// No header is longer than this, in bytes.
pub const HEADER_BYTES_MAX: usize = 288;
/// No task is longer than this, in bytes.
pub const TASK_BYTES_MAX: usize = HEADER_BYTES_MAX - StartHeader::FIXED_BYTES;
/// Length of the part that every header begins with, in bytes.
pub const PREFIX_BYTES: usize = 20;

/// The version of all messages; both sides must speak the same.
pub const PROTOCOL_VERSION: u8 = 1;

const MAGIC: [u8; 4] = [b'Z', b'F', b'L', b'0' + PROTOCOL_VERSION];

#[cfg(not(feature = "std"))]
static CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
#[cfg(not(feature = "std"))]
type Digest = crc::Digest<'static, u32>;
#[cfg(feature = "std")]
type Digest = crc32fast::Hasher;

/// A running CRC-32 (IEEE 802.3) of a payload.
pub struct Checksum(Digest);

impl Checksum {
    /// The checksum of nothing yet.
    pub fn new() -> Self {
        #[cfg(not(feature = "std"))]
        return Self(CRC.digest());
        #[cfg(feature = "std")]
        return Self(Digest::new());
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The checksum of all bytes taken in.
    pub fn finish(self) -> u32 {
        self.0.finalize()
    }

    /// The checksum of `bytes`.
    pub fn of(bytes: &[u8]) -> u32 {
        let mut checksum = Self::new();
        checksum.update(bytes);
        checksum.finish()
    }
}

impl Default for Checksum {
    fn default() -> Self {
        Self::new()
    }
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// [`Assignment`]
    Assignment = 1,
    /// [`DataHeader`] before samples
    Samples = 2,
    /// [`DataHeader`] before labels, or before the values in their place
    Labels = 3,
    /// [`StartHeader`]
    Start = 4,
    /// [`UpdateHeader`]
    Update = 5,
}

impl Kind {
    const ALL: [Self; 5] = [
        Self::Assignment,
        Self::Samples,
        Self::Labels,
        Self::Start,
        Self::Update,
    ];

    /// Whether a payload may be so encoded.
    const fn allows(self, encoding: Encoding) -> bool {
        match self {
            Self::Assignment => matches!(encoding, Encoding::None),
            Self::Samples => matches!(encoding, Encoding::U8),
            Self::Labels => matches!(encoding, Encoding::U8 | Encoding::F32),
            Self::Start | Self::Update => !matches!(encoding, Encoding::None | Encoding::U8),
        }
    }
}

/// Why bytes are not the message that was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The bytes end before the header does.
    Truncated {
        /// Bytes that the header needs.
        needed_bytes: usize,
        /// Bytes that there are.
        present_bytes: usize,
    },
    /// Not a zfl message of this version.
    Magic,
    /// Another kind of message.
    Kind {
        /// What was expected.
        expected: Kind,
        /// The kind byte that was found.
        found: u8,
    },
    /// A field has a value that is not allowed.
    Field {
        /// The field's name.
        name: &'static str,
        /// Where in the header, in bytes from its beginning.
        offset: usize,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated {
                needed_bytes,
                present_bytes,
            } => write!(
                f,
                "message ends after {present_bytes} bytes, its header needs {needed_bytes}"
            ),
            Self::Magic => f.write_str("byte 0: not a zfl message (expected `ZFL1`)"),
            Self::Kind { expected, found } => {
                write!(f, "byte 4: message kind {found}, expected {expected:?}")
            }
            Self::Field { name, offset } => {
                write!(f, "byte {offset}: impossible value of {name}")
            }
        }
    }
}

impl core::error::Error for DecodeError {}

/// The part that every header begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// What the message is.
    pub kind: Kind,
    /// What its payload consists of.
    pub encoding: Encoding,
    /// Length of the whole header, in bytes.
    pub header_bytes: usize,
    /// Whom the message is for or from.
    pub client: ClientId,
    /// Length of what follows the header, in bytes.
    pub payload_bytes: u32,
    /// CRC-32 of what follows the header.
    pub payload_crc32: u32,
}

impl Prefix {
    /// Reads the first [`PREFIX_BYTES`] of a message.
    ///
    /// # Errors
    /// When the bytes are too few or no zfl message.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes, PREFIX_BYTES)?;
        if reader.array() != MAGIC {
            return Err(DecodeError::Magic);
        }
        let [kind_byte, encoding_byte] = reader.array();
        let kind = Kind::ALL
            .into_iter()
            .find(|kind| *kind as u8 == kind_byte)
            .ok_or(DecodeError::Field {
                name: "kind",
                offset: 4,
            })?;
        let encoding = Encoding::ALL
            .into_iter()
            .find(|encoding| *encoding as u8 == encoding_byte && kind.allows(*encoding))
            .ok_or(DecodeError::Field {
                name: "encoding",
                offset: 5,
            })?;
        let header_bytes = usize::from(u16::from_le_bytes(reader.array()));
        if !(PREFIX_BYTES..=HEADER_BYTES_MAX).contains(&header_bytes) {
            return Err(DecodeError::Field {
                name: "header length",
                offset: 6,
            });
        }
        Ok(Self {
            kind,
            encoding,
            header_bytes,
            client: ClientId(reader.u32()),
            payload_bytes: reader.u32(),
            payload_crc32: reader.u32(),
        })
    }

    /// Reads the prefix of a message that must be of `kind`, and gives a
    /// reader of the rest of its header.
    fn expect(
        bytes: &[u8],
        kind: Kind,
        header_bytes_min: usize,
    ) -> Result<(Self, Reader<'_>), DecodeError> {
        let prefix = Self::decode(bytes)?;
        if prefix.kind != kind {
            return Err(DecodeError::Kind {
                expected: kind,
                found: prefix.kind as u8,
            });
        }
        if prefix.header_bytes < header_bytes_min {
            return Err(DecodeError::Field {
                name: "header length",
                offset: 6,
            });
        }
        let mut reader = Reader::new(bytes, prefix.header_bytes)?;
        reader.offset = PREFIX_BYTES;
        Ok((prefix, reader))
    }
}

/// A header as bytes.
#[derive(Clone, Copy)]
pub struct HeaderBytes {
    bytes: [u8; HEADER_BYTES_MAX],
    length: usize,
}

impl HeaderBytes {
    fn begin(
        kind: Kind,
        encoding: Encoding,
        client: ClientId,
        payload_bytes: u32,
        payload_crc32: u32,
    ) -> Self {
        let mut header = Self {
            bytes: [0; HEADER_BYTES_MAX],
            length: 0,
        };
        header.put(&MAGIC);
        header.put(&[kind as u8, encoding as u8, 0, 0]);
        header.put(&client.0.to_le_bytes());
        header.put(&payload_bytes.to_le_bytes());
        header.put(&payload_crc32.to_le_bytes());
        header
    }

    /// Appends; the encoders below write fewer than [`HEADER_BYTES_MAX`].
    fn put(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if let Some(slot) = self.bytes.get_mut(self.length) {
                *slot = *byte;
                self.length += 1;
            }
        }
    }

    fn finish(mut self) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "at most HEADER_BYTES_MAX")]
        let length = (self.length as u16).to_le_bytes();
        self.bytes[6..8].copy_from_slice(&length);
        self
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// Reads fields from a header whose length was checked once.
struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8], needed_bytes: usize) -> Result<Self, DecodeError> {
        match bytes.get(..needed_bytes) {
            Some(bytes) => Ok(Self { bytes, offset: 0 }),
            None => Err(DecodeError::Truncated {
                needed_bytes,
                present_bytes: bytes.len(),
            }),
        }
    }

    /// The next `N` bytes; zeros past the end, which the length check of the
    /// callers rules out, but for fields that a header may lack.
    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        if let Some(bytes) = self.bytes.get(self.offset..self.offset + N) {
            array.copy_from_slice(bytes);
        }
        self.offset += N;
        array
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    fn f32(&mut self) -> f32 {
        f32::from_le_bytes(self.array())
    }

    /// The error that the field just read, of `size` bytes, is impossible.
    fn reject(&self, name: &'static str, size: usize) -> DecodeError {
        DecodeError::Field {
            name,
            offset: self.offset - size,
        }
    }
}

/// Answer to `GET /id`: who the client is. No payload.
///
/// | offset | size | after the prefix |
/// |---|---|---|
/// | 20 | 4 | samples in the client's share |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The client's number.
    pub client: ClientId,
    /// Samples in its share.
    pub sample_count: u32,
}

impl Assignment {
    /// Length of the header, in bytes.
    pub const HEADER_BYTES: usize = PREFIX_BYTES + 4;

    /// Writes the message.
    pub fn encode(&self) -> HeaderBytes {
        let mut header = HeaderBytes::begin(
            Kind::Assignment,
            Encoding::None,
            self.client,
            0,
            Checksum::of(&[]),
        );
        header.put(&self.sample_count.to_le_bytes());
        header.finish()
    }

    /// Reads the message.
    ///
    /// # Errors
    /// When `bytes` are not such a message.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (prefix, mut reader) = Prefix::expect(bytes, Kind::Assignment, Self::HEADER_BYTES)?;
        Ok(Self {
            client: prefix.client,
            sample_count: reader.u32(),
        })
    }
}

/// Which half of a share a [`DataHeader`] announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataPart {
    /// `sample_count × input_count` bytes, sample by sample.
    Samples,
    /// `sample_count` bytes, each below `class_count`.
    Labels,
    /// In place of labels, where values are learnt: `sample_count × class_count`
    /// numbers ([`Encoding::F32`]), sample by sample.
    Values,
}

impl DataPart {
    const fn kind(self) -> Kind {
        match self {
            Self::Samples => Kind::Samples,
            Self::Labels | Self::Values => Kind::Labels,
        }
    }

    const fn encoding(self) -> Encoding {
        match self {
            Self::Samples | Self::Labels => Encoding::U8,
            Self::Values => Encoding::F32,
        }
    }
}

/// Answer to `GET /training-data` and `GET /training-labels`, before the
/// bytes of a client's share.
///
/// | offset | size | after the prefix |
/// |---|---|---|
/// | 20 | 4 | samples |
/// | 24 | 4 | inputs of a sample |
/// | 28 | 4 | classes, or values to learn of each sample |
/// | 32 | 4 | what one unit of an input byte means, `f32` |
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DataHeader {
    /// Samples, labels or values?
    pub part: DataPart,
    /// Whose share.
    pub client: ClientId,
    /// Samples in the share.
    pub sample_count: u32,
    /// Inputs of one sample.
    pub input_count: u32,
    /// Labels are below this; or values of each sample. In either case what a
    /// model has as outputs.
    pub class_count: u32,
    /// An input byte `b` stands for the number `b × value_scale`.
    pub value_scale: f32,
    /// CRC-32 of the payload.
    pub payload_crc32: u32,
}

impl DataHeader {
    /// Length of the header, in bytes.
    pub const HEADER_BYTES: usize = PREFIX_BYTES + 16;

    /// Length of the payload, in bytes; `None` when it exceeds a `u32`.
    pub fn payload_bytes(&self) -> Option<u32> {
        match self.part {
            DataPart::Samples => self.sample_count.checked_mul(self.input_count),
            DataPart::Labels => Some(self.sample_count),
            DataPart::Values => self
                .sample_count
                .checked_mul(self.class_count)?
                .checked_mul(Encoding::F32.bytes()),
        }
    }

    /// Writes the header.
    pub fn encode(&self) -> HeaderBytes {
        let mut header = HeaderBytes::begin(
            self.part.kind(),
            self.part.encoding(),
            self.client,
            self.payload_bytes().unwrap_or(u32::MAX),
            self.payload_crc32,
        );
        header.put(&self.sample_count.to_le_bytes());
        header.put(&self.input_count.to_le_bytes());
        header.put(&self.class_count.to_le_bytes());
        header.put(&self.value_scale.to_le_bytes());
        header.finish()
    }

    /// The entity tag of the message: the CRC-32 of its header, in which that of
    /// its payload is.
    pub fn tag(&self) -> EntityTag {
        EntityTag(Checksum::of(self.encode().as_slice()))
    }

    /// Reads the header of `part`. Where labels are expected it may be one of
    /// values: its own `part` says which.
    ///
    /// # Errors
    /// When `bytes` are not such a header, when it announces no samples or no
    /// inputs, or when the payload's length does not follow from them.
    pub fn decode(bytes: &[u8], part: DataPart) -> Result<Self, DecodeError> {
        let (prefix, mut reader) = Prefix::expect(bytes, part.kind(), Self::HEADER_BYTES)?;
        let sample_count = reader.u32();
        if sample_count == 0 {
            return Err(reader.reject("sample count", 4));
        }
        let input_count = reader.u32();
        if input_count == 0 {
            return Err(reader.reject("input count", 4));
        }
        let class_count = reader.u32();
        if !(1..=256).contains(&class_count) {
            return Err(reader.reject("class count", 4));
        }
        let value_scale = reader.f32();
        if !value_scale.is_finite() {
            return Err(reader.reject("value scale", 4));
        }
        let header = Self {
            part: match prefix.encoding {
                Encoding::F32 => DataPart::Values,
                _ => part,
            },
            client: prefix.client,
            sample_count,
            input_count,
            class_count,
            value_scale,
            payload_crc32: prefix.payload_crc32,
        };
        if header.payload_bytes() != Some(prefix.payload_bytes) {
            return Err(PAYLOAD_LENGTH);
        }
        Ok(header)
    }
}

/// The payload's length contradicts the rest of the header.
const PAYLOAD_LENGTH: DecodeError = DecodeError::Field {
    name: "payload length",
    offset: 12,
};

/// What the parameters of a payload are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Encoding {
    /// Nothing.
    None = 0,
    /// IEEE 754 single precision.
    F32 = 1,
    /// Bytes.
    U8 = 2,
    /// Fixed point in 32 bits, 24 of them behind the point.
    Fixed32 = 3,
    /// Fixed point in 16 bits, 12 of them behind the point.
    Fixed16 = 4,
    /// Fixed point in 8 bits, 6 of them behind the point.
    Fixed8 = 5,
}

impl Encoding {
    const ALL: [Self; 6] = [
        Self::None,
        Self::F32,
        Self::U8,
        Self::Fixed32,
        Self::Fixed16,
        Self::Fixed8,
    ];

    /// Bytes of one value; 1 where there are none.
    pub const fn bytes(self) -> u32 {
        match self {
            Self::F32 | Self::Fixed32 => 4,
            Self::Fixed16 => 2,
            Self::None | Self::U8 | Self::Fixed8 => 1,
        }
    }
}

/// `POST /start`: train this model on your share. The payload is the global
/// model: for each layer its weights, then its biases.
///
/// | offset | size | after the prefix |
/// |---|---|---|
/// | 20 | 4 | round |
/// | 24 | 8 | the run's seed |
/// | 32 | | the task: model and hyperparameters, as `zfl-nn` writes them |
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StartHeader<'a> {
    /// Whom the round is for.
    pub client: ClientId,
    /// Which round.
    pub round: RoundIndex,
    /// The run's seed; the batch order comes from it.
    pub seed: u64,
    /// Model and hyperparameters, at most [`TASK_BYTES_MAX`].
    pub task: &'a [u8],
    /// What the parameters are.
    pub encoding: Encoding,
    /// Length of the payload, in bytes.
    pub payload_bytes: u32,
    /// CRC-32 of the payload.
    pub payload_crc32: u32,
}

impl<'a> StartHeader<'a> {
    /// Length of the header without its task, in bytes.
    const FIXED_BYTES: usize = PREFIX_BYTES + 12;

    /// Writes the header.
    pub fn encode(&self) -> HeaderBytes {
        let mut header = HeaderBytes::begin(
            Kind::Start,
            self.encoding,
            self.client,
            self.payload_bytes,
            self.payload_crc32,
        );
        header.put(&self.round.0.to_le_bytes());
        header.put(&self.seed.to_le_bytes());
        header.put(self.task);
        header.finish()
    }

    /// Reads the header.
    ///
    /// # Errors
    /// When `bytes` are not such a header, or the payload is no whole number
    /// of parameters.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (prefix, mut reader) = Prefix::expect(bytes, Kind::Start, Self::FIXED_BYTES)?;
        check_whole(&prefix)?;
        Ok(Self {
            client: prefix.client,
            round: RoundIndex(reader.u32()),
            seed: reader.u64(),
            task: bytes
                .get(Self::FIXED_BYTES..prefix.header_bytes)
                .unwrap_or_default(),
            encoding: prefix.encoding,
            payload_bytes: prefix.payload_bytes,
            payload_crc32: prefix.payload_crc32,
        })
    }
}

/// Checks that the payload is a whole number of values.
fn check_whole(prefix: &Prefix) -> Result<(), DecodeError> {
    if prefix.payload_bytes.is_multiple_of(prefix.encoding.bytes()) {
        Ok(())
    } else {
        Err(PAYLOAD_LENGTH)
    }
}

/// What a client measured while it trained, and what its device counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Metrics {
    /// Mean loss of the samples as the first epoch met them.
    pub loss_first_epoch: f32,
    /// Mean loss of the samples as the last epoch met them.
    pub loss_last_epoch: f32,
    /// Share of samples classified rightly as the first epoch met them.
    pub accuracy_first_epoch: f32,
    /// Share of samples classified rightly as the last epoch met them.
    pub accuracy_last_epoch: f32,
    /// The device's own figures; zeros where there is no device.
    pub device: DeviceMetrics,
}

/// What a device counts about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceMetrics {
    /// Time from start to end of training by the device's clock.
    pub training_us: u64,
    /// Instructions executed in training; 0 where they are not counted.
    pub training_instructions: u64,
    /// Instructions executed for the network and all else since the round's
    /// message began to arrive, until the update was made; 0 where they are
    /// not counted.
    pub other_instructions: u64,
    /// Bytes received by the network interface since boot, as frames.
    pub nic_bytes_in: u64,
    /// Bytes sent by the network interface since boot, as frames.
    pub nic_bytes_out: u64,
    /// Frames received since boot.
    pub nic_frames_in: u32,
    /// Frames sent since boot.
    pub nic_frames_out: u32,
    /// Most bytes of stack in use since boot.
    pub stack_peak_bytes: u32,
    /// Most bytes of the arena in use since boot.
    pub arena_peak_bytes: u32,
    /// TCP segments received since boot; 0 from clients that do not tell.
    pub segments_in: u32,
    /// TCP segments sent since boot.
    pub segments_out: u32,
    /// Of those sent, the ones that held something that had been sent before.
    pub segments_retransmitted: u32,
}

/// `POST /results`: the trained model. The payload is as in [`StartHeader`],
/// but without the layers that are frozen, which are the first.
///
/// | offset | size | after the prefix |
/// |---|---|---|
/// | 20 | 4 | round |
/// | 24 | 4 | samples trained on |
/// | 28 | 4 each | loss in first and last epoch, accuracy in first and last epoch, `f32` |
/// | 44 | 8 each | training time in µs, instructions in training, others, NIC bytes in, NIC bytes out |
/// | 84 | 4 each | NIC frames in, frames out, stack peak, arena peak in bytes |
/// | 100 | 4 each | TCP segments in, out, retransmitted |
///
/// The last row may be missing, as in the headers of earlier clients.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UpdateHeader {
    /// Who trained.
    pub client: ClientId,
    /// For which round.
    pub round: RoundIndex,
    /// Samples trained on: the weight of the update in the mean.
    pub sample_count: u32,
    /// What was measured.
    pub metrics: Metrics,
    /// What the parameters are.
    pub encoding: Encoding,
    /// Length of the payload, in bytes.
    pub payload_bytes: u32,
    /// CRC-32 of the payload.
    pub payload_crc32: u32,
}

impl UpdateHeader {
    /// Length of the header, in bytes.
    pub const HEADER_BYTES: usize = PREFIX_BYTES + 92;
    /// Length of the header of clients that do not count segments.
    const HEADER_BYTES_MIN: usize = PREFIX_BYTES + 80;

    /// Writes the header.
    pub fn encode(&self) -> HeaderBytes {
        let mut header = HeaderBytes::begin(
            Kind::Update,
            self.encoding,
            self.client,
            self.payload_bytes,
            self.payload_crc32,
        );
        let Metrics {
            loss_first_epoch,
            loss_last_epoch,
            accuracy_first_epoch,
            accuracy_last_epoch,
            device,
        } = self.metrics;
        header.put(&self.round.0.to_le_bytes());
        header.put(&self.sample_count.to_le_bytes());
        for value in [
            loss_first_epoch,
            loss_last_epoch,
            accuracy_first_epoch,
            accuracy_last_epoch,
        ] {
            header.put(&value.to_le_bytes());
        }
        for value in [
            device.training_us,
            device.training_instructions,
            device.other_instructions,
            device.nic_bytes_in,
            device.nic_bytes_out,
        ] {
            header.put(&value.to_le_bytes());
        }
        for value in [
            device.nic_frames_in,
            device.nic_frames_out,
            device.stack_peak_bytes,
            device.arena_peak_bytes,
            device.segments_in,
            device.segments_out,
            device.segments_retransmitted,
        ] {
            header.put(&value.to_le_bytes());
        }
        header.finish()
    }

    /// Reads the header.
    ///
    /// # Errors
    /// When `bytes` are not such a header, or the payload is no whole number
    /// of parameters.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (prefix, mut reader) = Prefix::expect(bytes, Kind::Update, Self::HEADER_BYTES_MIN)?;
        check_whole(&prefix)?;
        // The fields of a struct expression are evaluated in the order written,
        // which is the order on the wire. What a short header lacks reads as 0.
        Ok(Self {
            client: prefix.client,
            round: RoundIndex(reader.u32()),
            sample_count: reader.u32(),
            metrics: Metrics {
                loss_first_epoch: reader.f32(),
                loss_last_epoch: reader.f32(),
                accuracy_first_epoch: reader.f32(),
                accuracy_last_epoch: reader.f32(),
                device: DeviceMetrics {
                    training_us: reader.u64(),
                    training_instructions: reader.u64(),
                    other_instructions: reader.u64(),
                    nic_bytes_in: reader.u64(),
                    nic_bytes_out: reader.u64(),
                    nic_frames_in: reader.u32(),
                    nic_frames_out: reader.u32(),
                    stack_peak_bytes: reader.u32(),
                    arena_peak_bytes: reader.u32(),
                    segments_in: reader.u32(),
                    segments_out: reader.u32(),
                    segments_retransmitted: reader.u32(),
                },
            },
            encoding: prefix.encoding,
            payload_bytes: prefix.payload_bytes,
            payload_crc32: prefix.payload_crc32,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn start() -> StartHeader<'static> {
        StartHeader {
            client: ClientId(3),
            round: RoundIndex(9),
            seed: 0x0123_4567_89ab_cdef,
            task: &[1, 2, 3],
            encoding: Encoding::Fixed16,
            payload_bytes: 12_730 * 2,
            payload_crc32: 77,
        }
    }

    fn update() -> UpdateHeader {
        UpdateHeader {
            client: ClientId(3),
            round: RoundIndex(9),
            sample_count: 1200,
            metrics: Metrics {
                loss_first_epoch: 2.0,
                loss_last_epoch: 1.5,
                accuracy_first_epoch: 0.25,
                accuracy_last_epoch: 0.5,
                device: DeviceMetrics {
                    training_us: 1,
                    training_instructions: 2,
                    other_instructions: 9,
                    nic_bytes_in: 3,
                    nic_bytes_out: 4,
                    nic_frames_in: 5,
                    nic_frames_out: 6,
                    stack_peak_bytes: 7,
                    arena_peak_bytes: 8,
                    segments_in: 10,
                    segments_out: 11,
                    segments_retransmitted: 12,
                },
            },
            encoding: Encoding::F32,
            payload_bytes: 12_730 * 4,
            payload_crc32: 77,
        }
    }

    fn labels() -> DataHeader {
        DataHeader {
            part: DataPart::Labels,
            client: ClientId(1),
            sample_count: 1200,
            input_count: 784,
            class_count: 10,
            value_scale: 1.0 / 255.0,
            payload_crc32: 5,
        }
    }

    #[test]
    fn every_message_survives_its_bytes() {
        let assignment = Assignment {
            client: ClientId(3),
            sample_count: 12,
        };
        assert_eq!(
            Assignment::decode(assignment.encode().as_slice()),
            Ok(assignment)
        );
        assert_eq!(
            DataHeader::decode(labels().encode().as_slice(), DataPart::Labels),
            Ok(labels())
        );
        let values = DataHeader {
            part: DataPart::Values,
            class_count: 1,
            ..labels()
        };
        let bytes = values.encode();
        assert_eq!(
            DataHeader::decode(bytes.as_slice(), DataPart::Labels),
            Ok(values)
        );
        assert_eq!(values.payload_bytes(), Some(4800));
        assert_eq!(
            StartHeader::decode(start().encode().as_slice()),
            Ok(start())
        );
        assert_eq!(
            UpdateHeader::decode(update().encode().as_slice()),
            Ok(update())
        );
        assert_eq!(
            update().encode().as_slice().len(),
            UpdateHeader::HEADER_BYTES
        );
    }

    #[test]
    fn an_update_without_segments_is_understood() {
        let whole = update().encode();
        let mut bytes = whole.as_slice()[..UpdateHeader::HEADER_BYTES_MIN].to_vec();
        bytes[6] = 100;
        let mut expected = update();
        let device = &mut expected.metrics.device;
        device.segments_in = 0;
        device.segments_out = 0;
        device.segments_retransmitted = 0;
        assert_eq!(UpdateHeader::decode(&bytes), Ok(expected));
        bytes[6] = 99;
        let error = DecodeError::Field {
            name: "header length",
            offset: 6,
        };
        assert_eq!(UpdateHeader::decode(&bytes), Err(error));
    }

    /// The original sends 122,794 bytes of JSON for this model.
    #[test]
    fn an_update_of_the_original_model_is_small() {
        const { assert!(UpdateHeader::HEADER_BYTES + 12_730 * 4 <= 51_500) };
    }

    #[test]
    fn impossible_fields_are_named_with_their_offset() {
        let check = |patch: &dyn Fn(&mut [u8]), name: &str, offset: usize| {
            let header = start().encode();
            let mut bytes = header.as_slice().to_vec();
            patch(&mut bytes);
            match StartHeader::decode(&bytes) {
                Err(DecodeError::Field { name: n, offset: o }) => {
                    assert_eq!((n, o), (name, offset));
                }
                other => panic!("{name}: {other:?}"),
            }
        };
        check(&|bytes| bytes[4] = 99, "kind", 4);
        check(&|bytes| bytes[5] = 9, "encoding", 5);
        check(&|bytes| bytes[6] = 8, "header length", 6);
        check(&|bytes| bytes[5] = 2, "encoding", 5);
        check(&|bytes| bytes[12] ^= 1, "payload length", 12);
        let header = start().encode();
        assert_eq!(
            StartHeader::decode(&header.as_slice()[..30]),
            Err(DecodeError::Truncated {
                needed_bytes: 35,
                present_bytes: 30
            })
        );
        assert_eq!(
            StartHeader::decode(b"{\"weights\":[0.1, 0.2]}"),
            Err(DecodeError::Magic)
        );
        assert_eq!(
            UpdateHeader::decode(header.as_slice()),
            Err(DecodeError::Kind {
                expected: Kind::Update,
                found: 4
            })
        );
    }

    proptest! {
        #[test]
        fn no_bytes_panic(
            mut bytes in prop::collection::vec(any::<u8>(), 0..200),
            kind in 0u8..7,
            framed in any::<bool>(),
        ) {
            if framed && bytes.len() >= 8 {
                bytes[..4].copy_from_slice(&MAGIC);
                bytes[4] = kind;
                bytes[5] = kind / 4 + 1;
                bytes[7] = 0;
            }
            let _ = Assignment::decode(&bytes);
            let _ = DataHeader::decode(&bytes, DataPart::Samples);
            let _ = StartHeader::decode(&bytes);
            let _ = UpdateHeader::decode(&bytes);
        }
    }
}
