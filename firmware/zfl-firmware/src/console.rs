//! The serial console: prompt, commands, event lines.
//!
//! One line at a time goes out whole, whoever prints it. A host that does not
//! read delays a line by [`PRINT_MS_MAX`] and then loses it: a device goes on
//! learning without an audience.

use core::cell::Cell;
use core::fmt;

use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::mutex::Mutex;
use embassy_time::{Duration, Instant, with_timeout};
use zfl_proto::console::{Command, CommandError, Event, HELP, PROMPT, RunOptions};

use crate::drivers::{memory, uart};
use crate::fault;
use crate::learn::Node;
use crate::line::{Line, Typed};
use crate::text::Text;

/// No line is longer, in bytes.
const LINE_BYTES_MAX: usize = 512;
/// The longest that a line waits for the host to read, in milliseconds.
const PRINT_MS_MAX: u64 = 2000;

/// Whether the cursor stands at the beginning of a line; locked while
/// somebody prints.
static CURSOR_AT_START: Mutex<CriticalSectionRawMutex, Cell<bool>> = Mutex::new(Cell::new(true));

/// Prints one line, on a line of its own.
async fn print_line(arguments: fmt::Arguments<'_>) {
    let text = Text::<LINE_BYTES_MAX>::of(arguments);
    let at_start = CURSOR_AT_START.lock().await;
    let print = async {
        if !at_start.get() {
            uart::write(b"\r\n").await;
        }
        at_start.set(false);
        uart::write(text.as_str().as_bytes()).await;
        uart::write(b"\r\n").await;
        at_start.set(true);
    };
    // A lost line is all that can come of it.
    let _ = with_timeout(Duration::from_millis(PRINT_MS_MAX), print).await;
}

/// Tells whoever watches the console.
pub(crate) async fn tell(event: Event<'_>) {
    print_line(format_args!("{event}")).await;
}

/// Tells that something failed.
pub(crate) async fn tell_failed(arguments: fmt::Arguments<'_>) {
    let text = Text::<LINE_BYTES_MAX>::of(arguments);
    tell(Event::Failed(text.as_str())).await;
}

/// Prints what was typed, or the prompt.
async fn echo(bytes: &[u8], at_start_after: bool) {
    let at_start = CURSOR_AT_START.lock().await;
    let print = uart::write(bytes);
    let _ = with_timeout(Duration::from_millis(PRINT_MS_MAX), print).await;
    at_start.set(at_start_after);
}

/// Reads commands and obeys them, for ever.
#[embassy_executor::task]
pub(crate) async fn run(node: &'static Node) -> ! {
    let mut line = Line::new();
    let mut typed = [0; 64];
    echo(PROMPT.as_bytes(), false).await;
    loop {
        let count = uart::read(&mut typed).await;
        for byte in typed.iter().take(count) {
            match line.push(*byte) {
                Typed::Ignored => {}
                Typed::Added(byte) => echo(&[byte], false).await,
                Typed::Erased(count) => {
                    for _ in 0..count {
                        echo(b"\x08 \x08", false).await;
                    }
                }
                Typed::End => {
                    echo(b"\r\n", true).await;
                    match line.take(Command::parse) {
                        Ok(Ok(command)) => obey(command, node).await,
                        Ok(Err(error)) | Err(error) => explain(error).await,
                    }
                    echo(PROMPT.as_bytes(), false).await;
                }
            }
        }
    }
}

async fn explain(error: CommandError) {
    print_line(format_args!("error: {error}")).await;
}

async fn obey(command: Command, node: &'static Node) {
    match command {
        Command::Nothing => {}
        Command::Help => {
            for line in HELP.lines() {
                print_line(format_args!("{line}")).await;
            }
        }
        Command::Run(options) => start(options, node).await,
        Command::Stats => stats(node).await,
        Command::Crash {
            how,
            in_training: false,
        } => fault::crash(how),
        Command::Crash {
            how,
            in_training: true,
        } => node.crash_in_training(how),
    }
}

async fn start(options: RunOptions, node: &Node) {
    if !node.has_network() {
        print_line(format_args!("error: there is no network")).await;
    } else if !node.join(options) {
        print_line(format_args!(
            "error: the device takes part already; restart it to change that"
        ))
        .await;
    }
}

async fn stats(node: &Node) {
    let device = node.device_metrics();
    let counters = node.counters();
    let text = Text::<LINE_BYTES_MAX>::of(format_args!(
        "uptime_us={} state={} round={} \
         stack_peak_bytes={} stack_bytes={} arena_peak_bytes={} arena_bytes={} \
         nic_frames_in={} nic_frames_out={} nic_bytes_in={} nic_bytes_out={} \
         tcp_segments_in={} tcp_segments_out={} tcp_segments_retransmitted={} \
         console_overrun_bytes={}",
        Instant::now().as_micros(),
        node.state().name(),
        node.round(),
        device.stack_peak_bytes,
        memory::stack_bytes(),
        device.arena_peak_bytes,
        node.arena_bytes(),
        device.nic_frames_in,
        device.nic_frames_out,
        device.nic_bytes_in,
        device.nic_bytes_out,
        counters.segments_in,
        counters.segments_out,
        counters.segments_retransmitted,
        uart::overrun_bytes(),
    ));
    tell(Event::Stats(text.as_str())).await;
}
