//! How updates become the next global model.

pub mod fed_avg;

/// What a strategy is given: one client's accepted update.
#[derive(Clone, Debug)]
pub struct Update {
    /// Which client; updates are combined in ascending order of it.
    pub client: u32,
    /// Samples it trained on.
    pub sample_count: u32,
    /// What its samples are multiplied with: 1, or less where it is late
    /// ([`Staleness`](crate::Staleness)).
    pub staleness_weight: f64,
    /// Its parameters after training.
    pub parameters: Vec<f32>,
}
