//! Why a client does not do what it was asked.

use core::fmt;

use zfl_nn::{InputError, SAMPLES_MAX, TaskError};
use zfl_proto::ClientId;
use zfl_proto::message::DecodeError;

/// Why a client does not do what it was asked. The client is as it was
/// before, but for the contents of its model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Refusal {
    /// It has no share yet.
    NotReady,
    /// It receives a model, trains or reports.
    Busy,
    /// The message is none.
    Malformed(DecodeError),
    /// The message is for somebody else.
    OtherClient {
        /// Who this is.
        own: ClientId,
        /// Whom the message names.
        named: ClientId,
    },
    /// The memory does not suffice.
    DoesNotFit {
        /// Bytes that it takes.
        needed_bytes: usize,
        /// Bytes that there are.
        available_bytes: usize,
    },
    /// More samples than a client can index.
    TooManySamples {
        /// How many.
        sample_count: u32,
    },
    /// The labels do not belong to the samples, or the model not to the data.
    Mismatch {
        /// Of what.
        what: &'static str,
        /// What the client's data have.
        own: u32,
        /// What the message says.
        named: u32,
    },
    /// The task is none.
    Task(TaskError),
    /// The parameters are not encoded as the task says.
    Encoding,
    /// The payload is not as long as the model.
    PayloadLength {
        /// Bytes of the model.
        needed_bytes: usize,
        /// Bytes of the payload.
        present_bytes: usize,
    },
    /// The frozen parameters were left out, and they are not here.
    FrozenMissing,
    /// Data that cannot be trained on.
    Input(InputError),
    /// The payload is not the one that the header announces.
    Checksum,
    /// The message ended early.
    Incomplete {
        /// Bytes that are missing.
        missing_bytes: usize,
    },
    /// The message goes on after its end.
    TrailingBytes,
    /// The model holds a number that is none.
    NonFinite {
        /// Which parameter.
        parameter: usize,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotReady => f.write_str("not ready: no training data yet"),
            Self::Busy => f.write_str("busy with a round"),
            Self::Malformed(error) => error.fmt(f),
            Self::OtherClient { own, named } => {
                write!(f, "message is for client {named}, this is client {own}")
            }
            Self::DoesNotFit {
                needed_bytes,
                available_bytes,
            } => write!(
                f,
                "does not fit: needs {needed_bytes} bytes of {available_bytes}"
            ),
            Self::TooManySamples { sample_count } => write!(
                f,
                "{sample_count} samples in one share, at most {SAMPLES_MAX} are supported"
            ),
            Self::Mismatch { what, own, named } => {
                write!(
                    f,
                    "{what}: the client's data have {own}, the message {named}"
                )
            }
            Self::Task(error) => error.fmt(f),
            Self::Encoding => f.write_str("the parameters are not encoded as the task says"),
            Self::PayloadLength {
                needed_bytes,
                present_bytes,
            } => write!(
                f,
                "payload of {present_bytes} bytes, the model has {needed_bytes}"
            ),
            Self::FrozenMissing => {
                f.write_str("the frozen parameters were left out and are not here")
            }
            Self::Input(error) => error.fmt(f),
            Self::Checksum => f.write_str("checksum of the payload is wrong"),
            Self::Incomplete { missing_bytes } => {
                write!(f, "message ends {missing_bytes} bytes early")
            }
            Self::TrailingBytes => f.write_str("bytes after the end of the message"),
            Self::NonFinite { parameter } => {
                write!(
                    f,
                    "parameter {parameter} of the model is not a finite number"
                )
            }
        }
    }
}

impl core::error::Error for Refusal {}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error)
    }
}
