//! Who takes part in a round.

use std::collections::HashMap;

use zfl_seed::{Purpose, Stream};

/// Draws clients one after another, none twice: a Fisher–Yates shuffle from
/// the end, of which no more is done than is asked for. What a draw costs does
/// not depend on the number of clients.
pub(crate) struct Draw {
    stream: Stream,
    /// Clients that are not drawn yet.
    left: u32,
    /// What the shuffle has put in a place, where that is not its own number.
    moved: HashMap<u32, u32>,
}

impl Draw {
    pub(crate) fn new(seed: u64, round: u32, client_count: u32) -> Self {
        Self {
            stream: Stream::for_round(seed, Purpose::Selection, 0, round),
            left: client_count,
            moved: HashMap::new(),
        }
    }
}

impl Iterator for Draw {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let last = self.left.checked_sub(1)?;
        // A shuffle draws nothing for its first place.
        let chosen = match last {
            0 => 0,
            _ => self.stream.below(self.left),
        };
        self.left = last;
        let at_last = self.moved.remove(&last).unwrap_or(last);
        if chosen == last {
            return Some(at_last);
        }
        Some(self.moved.insert(chosen, at_last).unwrap_or(chosen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_is_the_end_of_a_shuffle() {
        for (client_count, round) in [(1, 1), (2, 3), (10, 1), (1000, 7)] {
            let mut order: Vec<u32> = (0..client_count).collect();
            Stream::for_round(5, Purpose::Selection, 0, round).shuffle(&mut order);
            order.reverse();
            let drawn: Vec<u32> = Draw::new(5, round, client_count).collect();
            assert_eq!(drawn, order, "{client_count} clients");
        }
        assert_eq!(Draw::new(5, 1, 0).count(), 0);
    }

    #[test]
    fn few_of_many_cost_little() {
        let mut draw = Draw::new(5, 1, u32::MAX);
        assert_eq!(draw.by_ref().take(1000).count(), 1000);
        assert!(draw.moved.len() <= 1000);
    }
}
