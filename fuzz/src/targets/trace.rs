//! Traces of availability: who is there when is what their lines say, in any
//! order; what is refused has its line.

use std::collections::BTreeMap;

use zfl_lab::fuzz::trace;

use crate::input::Input;

/// How many clients there are, then the trace.
pub(crate) fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let client_count = u32::from(input.word());
    let text = String::from_utf8_lossy(input.rest());
    let is_there = match trace(&text, client_count) {
        Ok(is_there) => is_there,
        Err((line, what)) => {
            let lines = u64::try_from(text.lines().count()).expect("few");
            assert!((1..=lines.max(1)).contains(&line), "line {line}");
            assert!(!what.contains(char::is_control), "{what:?}");
            assert!(what.len() <= 1000, "{} bytes", what.len());
            return;
        }
    };
    let mut intervals: BTreeMap<u32, Vec<[u32; 2]>> = BTreeMap::new();
    let rows = text.lines().filter(|line| !line.trim().is_empty()).skip(1);
    for row in rows {
        let cells = row.split(',').map(|cell| cell.trim().parse());
        let cells: Vec<u32> = cells.collect::<Result<_, _>>().expect("numbers");
        let [client, from, to] = cells[..] else {
            panic!("{row:?}");
        };
        assert!(client < client_count);
        intervals.entry(client).or_default().push([from, to]);
    }
    let mut turned = "client,from,to\r\n".to_owned();
    for (client, intervals) in intervals.iter().rev() {
        for [from, to] in intervals.iter().rev() {
            turned.push_str(&format!("{client} ,{from},{to}\r\n\n"));
        }
    }
    let turned = trace(&turned, client_count);
    let turned = turned.unwrap_or_else(|(line, what)| panic!("line {line}: {what}"));
    for client in 0..client_count.min(100) {
        let own = intervals.get(&client);
        let ends = own.into_iter().flatten().flatten();
        let near = ends.flat_map(|round| [round - 1, *round, round.saturating_add(1)]);
        for round in near.take(300).chain([1, u32::MAX]) {
            let mut among = own.into_iter().flatten();
            let expected = own.is_none() || among.any(|[from, to]| (from..=to).contains(&&round));
            assert_eq!(is_there(client, round), expected, "{client} in {round}");
            assert_eq!(turned(client, round), expected, "{client} in {round}");
        }
    }
}
