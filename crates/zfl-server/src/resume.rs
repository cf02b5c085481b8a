//! What a run needs to go on after one of its rounds.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zfl_proto::Token;

use crate::policy::DURATIONS_MAX;

/// What the coordinator carries from round to round besides the round's number
/// and the global model. A run that is resumed is given it back, and goes on
/// as if it had never stopped.
///
/// Not carried: which clients from elsewhere are lost, who has its data and who
/// holds the frozen parameters (whoever takes part in a resumed run begins
/// anew), and the models of past rounds, so that an update which is late for a
/// round before the interruption is refused.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Carry {
    /// Rounds that have failed since the last one that did not.
    pub failed_rounds: u32,
    /// Clients that have failed in their last part, in ascending order.
    pub resting: Vec<Resting>,
    /// What the latest parts took, in seconds of host time.
    pub durations_seconds: VecDeque<f64>,
    /// Clients that this process plays and that are lost, and why.
    pub lost_local: BTreeMap<u32, String>,
    /// Updates that came after their round and wait for the end of the next,
    /// in ascending order of client and round.
    pub late: Vec<LateUpdate>,
}

impl Carry {
    /// Where a client is in the list of those that rest, or belongs.
    pub(crate) fn place_of_resting(&self, client: u32) -> Result<usize, usize> {
        self.resting
            .binary_search_by_key(&client, |rest| rest.client)
    }

    /// Whether a client is to be left out in `round`.
    pub(crate) fn rests_in(&self, client: u32, round: u32) -> bool {
        let rest = self.place_of_resting(client).ok();
        rest.and_then(|place| self.resting.get(place))
            .is_some_and(|rest| round <= rest.until_round)
    }

    /// A client has done its part.
    pub(crate) fn succeeded(&mut self, client: u32) {
        if let Ok(place) = self.place_of_resting(client) {
            self.resting.remove(place);
        }
    }

    /// Notes what a part took.
    pub(crate) fn took(&mut self, seconds: f64) {
        while self.durations_seconds.len() >= DURATIONS_MAX {
            self.durations_seconds.pop_front();
        }
        self.durations_seconds.push_back(seconds);
    }
}

/// A client that has failed in its last part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Resting {
    /// Which.
    pub client: u32,
    /// How often in a row.
    pub failures: u32,
    /// The last round in which it is left out.
    pub until_round: u32,
}

/// An update that came after its round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LateUpdate {
    /// Whose.
    pub client: u32,
    /// The round that it was trained for.
    pub round: u32,
    /// Samples it was trained on.
    pub sample_count: u32,
    /// Its parameters less those it was trained from.
    #[serde(serialize_with = "write_bits", deserialize_with = "read_bits")]
    pub change: Vec<f32>,
}

/// Every bit, whatever the format does with numbers.
fn write_bits<S: Serializer>(values: &[f32], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(|value| value.to_bits()))
}

fn read_bits<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f32>, D::Error> {
    let bits = Vec::<u32>::deserialize(deserializer)?;
    Ok(bits.into_iter().map(f32::from_bits).collect())
}

/// Where a run goes on.
#[derive(Clone, Debug, PartialEq)]
pub struct Resume {
    /// The last round that is over; 0: none.
    pub round: u32,
    /// The global model after it; `None` where no round has changed that
    /// before round 1.
    pub parameters: Option<Arc<Vec<f32>>>,
    /// What was carried over from it.
    pub carry: Carry,
    /// What the clients know already; `None` draws new tokens.
    pub secrets: Option<Secrets>,
}

/// Secrets of a run whose clients come from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secrets {
    /// Lets a fleet host bring devices.
    pub fleet_key: Token,
    /// The token of each client that is not played in this process, in the
    /// order of their numbers.
    pub clients: Vec<Token>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_carried_survives_json() {
        let carry = Carry {
            failed_rounds: 2,
            resting: vec![Resting {
                client: 3,
                failures: 1,
                until_round: 9,
            }],
            durations_seconds: [0.1, 2.5].into(),
            lost_local: [(7, "injected fault: crash".to_owned())].into(),
            late: vec![LateUpdate {
                client: 3,
                round: 7,
                sample_count: 20,
                change: vec![0.1, -0.0, f32::MIN_POSITIVE / 3.0],
            }],
        };
        let text = serde_json::to_string(&carry).unwrap();
        let read: Carry = serde_json::from_str(&text).unwrap();
        assert_eq!(read, carry);
        assert!(read.late[0].change[1].is_sign_negative());
        assert_eq!(
            serde_json::from_str::<Carry>("{}").unwrap(),
            Carry::default()
        );
    }

    #[test]
    fn times_are_bounded() {
        let mut carry = Carry::default();
        for part in 0..DURATIONS_MAX + 5 {
            carry.took(part as f64);
        }
        assert_eq!(carry.durations_seconds.len(), DURATIONS_MAX);
        assert_eq!(carry.durations_seconds.front(), Some(&5.0));
    }
}
