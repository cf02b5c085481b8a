//! From reset to running tasks.

use embassy_executor::Spawner;
use static_cell::StaticCell;
use zfl_client::Client;
use zfl_proto::console::Event;

use crate::drivers::{self, executor, memory, timer, uart};
use crate::learn::Node;
use crate::{Board, console, learn, net};

/// Runs the firmware on `board`. To be called once, first thing in `main`.
pub fn run(board: &'static Board) -> ! {
    drivers::init(board);
    uart::init(board);
    timer::init(board);
    executor::run(|spawner| {
        // There is one such task, and nothing was spawned before it.
        if let Ok(token) = boot(board, spawner) {
            spawner.spawn(token);
        }
    })
}

#[embassy_executor::task]
async fn boot(board: &'static Board, spawner: Spawner) {
    static NODE: StaticCell<Node> = StaticCell::new();

    let arena = memory::take_arena().unwrap_or(&mut []);
    let arena_bytes = u32::try_from(size_of_val(arena)).unwrap_or(u32::MAX);
    console::tell(Event::Boot {
        board: board.name,
        version: env!("CARGO_PKG_VERSION"),
        arena_bytes,
    })
    .await;
    let network = net::init(board);
    let (tally, network) = match network {
        Ok((stack, runner, tally)) => (Some(tally), Some((stack, runner))),
        Err(error) => {
            console::tell_failed(format_args!("{error}")).await;
            (None, None)
        }
    };
    let node: &'static Node = NODE.init(Node::new(Client::new(arena), tally));
    // Each task is spawned as often as its pool allows, so none is refused.
    if let Some((stack, runner)) = network {
        if let Ok(token) = net::run(runner) {
            spawner.spawn(token);
        }
        if let Ok(token) = learn::run(stack, node, spawner) {
            spawner.spawn(token);
        }
    }
    if let Ok(token) = console::run(node) {
        spawner.spawn(token);
    }
}
