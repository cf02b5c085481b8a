//! Names of the HTTP interface, the same on both sides.

use core::fmt;

/// Media type of the binary [`message`](crate::message)s.
pub const MEDIA_TYPE_BINARY: &str = "application/vnd.zfl";
/// Media type of the form for people.
pub const MEDIA_TYPE_JSON: &str = "application/json";

/// Coordinator: who am I? `GET`.
pub const PATH_ID: &str = "/id";
/// Coordinator: the samples of a client's share. `GET`, query `id`.
pub const PATH_TRAINING_DATA: &str = "/training-data";
/// Coordinator: the labels of a client's share. `GET`, query `id`.
pub const PATH_TRAINING_LABELS: &str = "/training-labels";
/// Coordinator: a trained model. `POST`, query `id`.
pub const PATH_RESULTS: &str = "/results";
/// Client: can a round start now? `GET`.
pub const PATH_READY: &str = "/ready";
/// Client: start a round. `POST`.
pub const PATH_START: &str = "/start";

/// The port on which a device serves [`PATH_READY`] and [`PATH_START`].
pub const DEVICE_PORT: u16 = 80;
/// The port of the coordinator on the virtual network.
pub const COORDINATOR_PORT: u16 = 8080;

/// The entity tag (RFC 9110, section 8.8.3) of a half of a client's share. A
/// weak one: the form for people has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntityTag(pub u32);

impl fmt::Display for EntityTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "W/\"{:08x}\"", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_has_all_its_digits() {
        assert_eq!(EntityTag(0x0012_ab00).to_string(), "W/\"0012ab00\"");
    }
}
