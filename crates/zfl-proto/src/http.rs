//! Names of the HTTP interface, the same on both sides.

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
