//! Federated averaging.
//!
//! H. B. McMahan, E. Moore, D. Ramage, S. Hampson and B. Agüera y Arcas,
//! *Communication-Efficient Learning of Deep Networks from Decentralized
//! Data*, AISTATS 2017, algorithm 1: the next global model is the mean of the
//! clients' models, weighted by their samples,
//! w ← Σₖ (nₖ ∕ n) wₖ.
//!
//! Where late updates are used, nₖ is the number of samples times the
//! staleness weight, and n the sum of those.

use super::Update;

/// The weighted mean of the updates; `None` when there are no samples.
///
/// The sum is taken in `f64` in the order of the client numbers, so that the
/// result does not depend on the order of arrival.
pub fn aggregate(updates: &mut [Update]) -> Option<Vec<f32>> {
    updates.sort_by_key(|update| update.client);
    let weight = |update: &Update| f64::from(update.sample_count) * update.staleness_weight;
    let total: f64 = updates.iter().map(weight).sum();
    if total == 0.0 {
        return None;
    }
    let mut sums = vec![0.0f64; updates.first()?.parameters.len()];
    for update in updates.iter() {
        let weight = weight(update);
        for (sum, parameter) in sums.iter_mut().zip(&update.parameters) {
            *sum += weight * f64::from(*parameter);
        }
    }
    #[expect(clippy::cast_possible_truncation, reason = "the model is f32")]
    let mean = sums.into_iter().map(|sum| (sum / total) as f32).collect();
    Some(mean)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(client: u32, sample_count: u32, parameters: &[f32]) -> Update {
        Update {
            client,
            sample_count,
            staleness_weight: 1.0,
            parameters: parameters.to_vec(),
        }
    }

    #[test]
    fn the_mean_is_weighted_by_samples() {
        let mut updates = [update(0, 1, &[0.0, 4.0]), update(1, 3, &[4.0, 0.0])];
        assert_eq!(aggregate(&mut updates), Some(vec![3.0, 1.0]));
    }

    #[test]
    fn staleness_weighs_beside_the_samples() {
        let mut updates = [update(0, 2, &[0.0]), update(1, 3, &[4.0])];
        updates[0].staleness_weight = 0.5;
        assert_eq!(aggregate(&mut updates), Some(vec![3.0]));
    }

    #[test]
    fn the_order_of_arrival_does_not_matter() {
        let of = |order: &[u32]| {
            let mut updates: Vec<Update> = order
                .iter()
                .map(|client| update(*client, client + 1, &[0.1 * *client as f32, 1e7]))
                .collect();
            aggregate(&mut updates)
        };
        assert_eq!(of(&[0, 1, 2, 3, 4]), of(&[4, 2, 0, 3, 1]));
    }

    #[test]
    fn no_samples_make_no_model() {
        assert_eq!(aggregate(&mut []), None);
        assert_eq!(aggregate(&mut [update(0, 0, &[1.0])]), None);
    }
}
