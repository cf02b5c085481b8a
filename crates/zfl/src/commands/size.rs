//! `zfl size`: memory as a number before the run.

use std::fmt::Write;

use zfl_lab::size::{BoardSize, Sizes, sizes};

use super::run::read_file;
use super::{Done, Failure, firmware, search_path};
use crate::arguments::SizeArguments;

/// `zfl size`
pub(crate) fn size(arguments: &SizeArguments) -> Done {
    let experiment = read_file(&arguments.file, &arguments.sets)?;
    let source = firmware(arguments.firmware_dir.as_deref());
    // Not 1, which says that it does not fit.
    let sizes = sizes(&experiment, &search_path(&arguments.data), &source)
        .map_err(|error| Failure::Usage(error.to_string()))?;
    if arguments.json {
        let text = serde_json::to_string_pretty(&sizes)
            .map_err(|error| Failure::Usage(format!("failed to write JSON: {error}")))?;
        say!("{text}");
    } else {
        say!("{}", text(&sizes).trim_end());
    }
    let too_small: Vec<&str> = sizes
        .boards
        .iter()
        .filter(|board| !board.fits)
        .map(|board| board.board.as_str())
        .collect();
    match too_small.as_slice() {
        [] => Ok(()),
        names => Err(Failure::Run(format!(
            "{} does not fit {}",
            sizes.name,
            names.join(", ")
        ))),
    }
}

/// A row of the table: a title, or a name and a cell for each board.
enum Row {
    Title(&'static str),
    Cells(&'static str, Vec<String>),
}

const UNKNOWN: &str = "not built";
const NONE: &str = "-";

/// The whole answer for people.
fn text(sizes: &Sizes) -> String {
    let rows = rows(&sizes.boards);
    let name_width = rows
        .iter()
        .map(|row| match row {
            Row::Title(name) => name.len(),
            Row::Cells(name, _) => name.len() + 2,
        })
        .max()
        .unwrap_or(0);
    let widths: Vec<usize> = sizes
        .boards
        .iter()
        .enumerate()
        .map(|(column, board)| {
            let cells = rows.iter().filter_map(|row| match row {
                Row::Title(_) => None,
                Row::Cells(_, cells) => cells.get(column).map(String::len),
            });
            cells.chain([board.board.len()]).max().unwrap_or(0)
        })
        .collect();
    let mut out = format!("{}: {}\n\n", sizes.name, model(sizes));
    let mut line = |name: &str, cells: &mut dyn Iterator<Item = &str>| {
        // Writing to a `String` cannot fail.
        let _ = write!(out, "{name:<name_width$}");
        for (cell, width) in cells.zip(&widths) {
            let _ = write!(out, "  {cell:>width$}");
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
    };
    let names = sizes.boards.iter().map(|board| board.board.as_str());
    line("bytes", &mut names.clone());
    for row in &rows {
        match row {
            Row::Title(name) => line(name, &mut std::iter::empty()),
            Row::Cells(name, cells) => {
                line(&format!("  {name}"), &mut cells.iter().map(String::as_str));
            }
        }
    }
    out.push('\n');
    for board in &sizes.boards {
        let _ = writeln!(out, "{}: {}", board.board, verdict(board));
    }
    let round = &sizes.round;
    let again = match round.start_again_bytes {
        again if again == round.start_bytes => String::new(),
        again => format!(" ({again} once a client holds the frozen layers)"),
    };
    let _ = writeln!(
        out,
        "\na round: {} clients, start {} bytes each{again}, update {} bytes each;\n         {} bytes \
         down, {} bytes up (messages with headers, without HTTP and TCP/IP)",
        round.clients, round.start_bytes, round.update_bytes, round.down_bytes, round.up_bytes
    );
    out
}

fn model(sizes: &Sizes) -> String {
    let training = match sizes.parameters_trained {
        all if all == sizes.parameters => String::new(),
        some => format!(", {some} of them trained"),
    };
    format!(
        "{} clients, {} parameters ({}){training}",
        sizes.clients, sizes.parameters, sizes.format
    )
}

fn rows(boards: &[BoardSize]) -> Vec<Row> {
    let row = |name, cell: &dyn Fn(&BoardSize) -> String| {
        Row::Cells(name, boards.iter().map(cell).collect())
    };
    let ram = |known: fn(&zfl_lab::size::RamSize) -> Option<u64>| {
        move |board: &BoardSize| match &board.ram {
            None => NONE.to_owned(),
            Some(ram) => known(ram).map_or_else(|| UNKNOWN.to_owned(), |bytes| bytes.to_string()),
        }
    };
    vec![
        Row::Title("fleet"),
        row("clients", &|board| board.clients.to_string()),
        row("samples of the largest share", &|board| {
            board.samples.to_string()
        }),
        Row::Title("client's arena"),
        row("training samples", &|board| {
            board.arena.samples_bytes.to_string()
        }),
        row("labels", &|board| board.arena.labels_bytes.to_string()),
        row("batch order", &|board| {
            board.arena.batch_order_bytes.to_string()
        }),
        row("weights", &|board| board.arena.weights_bytes.to_string()),
        row("gradients", &|board| {
            board.arena.gradients_bytes.to_string()
        }),
        row("activations and error signals", &|board| {
            board.arena.activations_bytes.to_string()
        }),
        row("optimiser state", &|board| {
            board.arena.optimiser_bytes.to_string()
        }),
        row("alignment", &|board| {
            board.arena.alignment_bytes.to_string()
        }),
        row("needed", &|board| board.arena.needed_bytes.to_string()),
        row("available", &|board| match board.arena.available_bytes {
            None => NONE.to_owned(),
            Some(bytes) => bytes.to_string(),
        }),
        Row::Title("RAM"),
        row("stack, reserved", &ram(|ram| Some(ram.stack_bytes))),
        row("network buffers and statics", &ram(|ram| ram.statics_bytes)),
        row(
            "needed",
            &ram(|ram| ram.statics_bytes.map(|_| ram.needed_bytes)),
        ),
        row("available", &ram(|ram| Some(ram.available_bytes))),
        Row::Title("flash"),
        row("needed", &|board| match &board.flash {
            None => NONE.to_owned(),
            Some(flash) => flash
                .needed_bytes
                .map_or_else(|| UNKNOWN.to_owned(), |bytes| bytes.to_string()),
        }),
        row("available", &|board| match &board.flash {
            None => NONE.to_owned(),
            Some(flash) => flash.available_bytes.to_string(),
        }),
    ]
}

/// Whether it fits, in words.
fn verdict(board: &BoardSize) -> String {
    let excesses: Vec<String> = board
        .excesses()
        .map(|excess| format!("{} bytes too many in its {}", excess.bytes, excess.memory))
        .collect();
    let mut text = match excesses.as_slice() {
        [] if board.ram.is_none() => "fits; each client takes this of the host's memory".to_owned(),
        [] => "fits".to_owned(),
        excesses => format!("does not fit: {}", excesses.join(", ")),
    };
    if !board.is_complete() {
        text.push_str(
            "; without the firmware's part, as its image is not built (`make firmware`, then \
             build zfl again)",
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use zfl_lab::size::{ArenaSize, FlashSize, RamSize};

    fn board(statics_bytes: Option<u64>, arena_bytes: usize) -> BoardSize {
        BoardSize {
            board: "b".to_owned(),
            fidelity: "emulated",
            clients: 1,
            samples: 1,
            arena: ArenaSize {
                samples_bytes: 0,
                labels_bytes: 0,
                batch_order_bytes: 0,
                weights_bytes: 0,
                gradients_bytes: 0,
                activations_bytes: 0,
                optimiser_bytes: 0,
                alignment_bytes: 0,
                needed_bytes: 1000,
                available_bytes: Some(arena_bytes),
            },
            ram: Some(RamSize {
                stack_bytes: 100,
                statics_bytes,
                needed_bytes: 100 + statics_bytes.unwrap_or(0),
                available_bytes: 150,
            }),
            flash: Some(FlashSize {
                needed_bytes: statics_bytes,
                available_bytes: 200,
            }),
            fits: false,
        }
    }

    #[test]
    fn a_verdict_says_how_much_and_what_is_not_known() {
        assert_eq!(verdict(&board(Some(50), 1000)), "fits");
        assert_eq!(
            verdict(&board(Some(60), 999)),
            "does not fit: 1 bytes too many in its arena, 10 bytes too many in its RAM"
        );
        let unknown = verdict(&board(None, 1000));
        assert!(
            unknown.starts_with("fits; without the firmware's part, as its image is not built"),
            "{unknown}"
        );
        let shown = rows(&[board(None, 1000)]).into_iter().filter(
            |row| matches!(row, Row::Cells(_, cells) if cells.iter().any(|cell| cell == UNKNOWN)),
        );
        // Statics, their sum with the stack, and flash.
        assert_eq!(shown.count(), 3);
    }
}
