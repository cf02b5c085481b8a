//! Models as payloads of messages.

use zfl_nn::{Format, Task, Weight};
use zfl_proto::message::{Checksum, Encoding};

use crate::checkpoint::{from_little_endian, little_endian};

/// How parameters of a format are sent.
pub(crate) const fn encoding(format: Format) -> Encoding {
    match format {
        Format::F32 => Encoding::F32,
        Format::Fixed32 => Encoding::Fixed32,
        Format::Fixed16 => Encoding::Fixed16,
        Format::Fixed8 => Encoding::Fixed8,
    }
}

/// The global model as it is sent, in the format of the task.
pub(crate) struct Payload {
    bytes: Vec<u8>,
    crc32: u32,
    /// Where the parameters begin that train.
    trained_from: usize,
    trained_crc32: u32,
}

impl Payload {
    pub(crate) fn new(task: &Task, global: &[f32]) -> Self {
        let bytes = encode(task.format, global);
        let trained_from = bytes.len() - task.trained_bytes().min(bytes.len());
        let crc32 = Checksum::of(&bytes);
        Self {
            crc32,
            trained_crc32: match trained_from {
                0 => crc32,
                _ => Checksum::of(bytes.get(trained_from..).unwrap_or_default()),
            },
            trained_from,
            bytes,
        }
    }

    /// What a client is sent, and its checksum: without the frozen parameters
    /// where it has them.
    pub(crate) fn for_client(&self, holds_frozen: bool) -> (&[u8], u32) {
        match holds_frozen {
            true => (
                self.bytes.get(self.trained_from..).unwrap_or_default(),
                self.trained_crc32,
            ),
            false => (&self.bytes, self.crc32),
        }
    }

    /// Whether some parameters need to be sent once only.
    pub(crate) fn has_frozen(&self) -> bool {
        self.trained_from > 0
    }
}

fn encode(format: Format, parameters: &[f32]) -> Vec<u8> {
    fn fixed<W: Weight, const N: usize>(
        parameters: &[f32],
        bytes: impl Fn(W) -> [u8; N],
    ) -> Vec<u8> {
        let values = parameters.iter().map(|value| bytes(W::from_f32(*value)));
        values.flatten().collect()
    }
    match format {
        Format::F32 => little_endian(parameters).into_owned(),
        Format::Fixed32 => fixed(parameters, i32::to_le_bytes),
        Format::Fixed16 => fixed(parameters, i16::to_le_bytes),
        Format::Fixed8 => fixed(parameters, i8::to_le_bytes),
    }
}

/// The parameters of a payload; a part of a value at its end is left out.
pub(crate) fn decode(encoding: Encoding, payload: &[u8]) -> Vec<f32> {
    fn fixed<W: Weight, const N: usize>(payload: &[u8], value: impl Fn([u8; N]) -> W) -> Vec<f32> {
        let (values, _) = payload.as_chunks::<N>();
        values.iter().map(|bytes| value(*bytes).to_f32()).collect()
    }
    match encoding {
        Encoding::F32 => from_little_endian(payload),
        Encoding::Fixed32 => fixed(payload, i32::from_le_bytes),
        Encoding::Fixed16 => fixed(payload, i16::from_le_bytes),
        Encoding::Fixed8 => fixed(payload, i8::from_le_bytes),
        // No message carries a model so.
        Encoding::None | Encoding::U8 => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_survives_each_format() {
        let parameters = [0.0, 1.5, -0.25, 1.96875, -2.0];
        for (format, bytes) in [
            (Format::F32, 20),
            (Format::Fixed32, 20),
            (Format::Fixed16, 10),
            (Format::Fixed8, 5),
        ] {
            let payload = encode(format, &parameters);
            assert_eq!(payload.len(), bytes);
            assert_eq!(decode(encoding(format), &payload), parameters);
        }
        let clipped = decode(Encoding::Fixed8, &encode(Format::Fixed8, &[3.0, -9.0]));
        assert_eq!(clipped, [127.0 / 64.0, -2.0]);
    }
}
