//! What a misspelled word was probably meant to be.

/// The candidate that differs from `word` least, if that is by a slip.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(1))
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many letters must be inserted, removed, changed or swapped with their
/// neighbour (optimal string alignment: F. Damerau, 1964), row by row. Only the
/// first 64 letters of `from` count.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut before = Vec::new();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    let mut last = None;
    for (index, letter) in from.chars().take(64).enumerate() {
        let mut next = vec![index + 1];
        for (column, other) in to.iter().enumerate() {
            let changed = row[column] + usize::from(letter != *other);
            let mut least = changed.min(row[column + 1] + 1).min(next[column] + 1);
            if column > 0 && last == Some(*other) && letter == to[column - 1] {
                let swapped: usize = before[column - 1];
                least = least.min(swapped + 1);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut row, next);
        last = Some(letter);
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_slips() {
        assert_eq!(distance("epoch", "epochs"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("", ""), 0);
        assert_eq!(distance("abc", "abc"), 0);
        assert_eq!(distance("mps2an386", "mps2-an386"), 1);
        assert_eq!(distance("an368", "an386"), 1);
        assert_eq!(distance("ab", "ba"), 1);
    }

    #[test]
    fn only_a_slip_is_near() {
        let words = ["epochs", "batch-size", "learning-rate"];
        assert_eq!(nearest("epoch", words), Some("epochs"));
        assert_eq!(nearest("batch_size", words), Some("batch-size"));
        assert_eq!(nearest("momentum", words), None);
    }
}
