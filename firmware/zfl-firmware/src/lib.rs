//! The firmware that all boards share.
//!
//! A device is a console, a network stack and one client. The layers, from
//! the hardware up:
//!
//! | module | one line |
//! |---|---|
//! | `drivers` | registers, interrupts, stack and arena; all the `unsafe` there is |
//! | `meter` | counts frames and TCP segments between driver and stack |
//! | `net` | the TCP/IP stack and its sockets |
//! | `http` | requests to the coordinator; the server for its requests |
//! | `learn` | moves bytes between HTTP and the client, trains in between |
//! | `console` | prompt, commands, event lines |
//! | `counting` | instructions from the ticks of a clock |
//! | `sizes` | buffers and sockets: as many as the board has memory for |
//! | `fault` | the last words of a device |
//!
//! Everything runs in one thread on one executor; training gives way every
//! few milliseconds, so the network never starves. There is no heap: tasks,
//! buffers and the client's arena are static, and the stack is guarded.
//!
//! A board is a binary that calls [`run`] with the constants that its build
//! script made of `boards/NAME.toml`.
//!
//! On the host this library contains only what needs no hardware (`counting`,
//! `line`, `meter`, `text`), for its tests.
#![cfg_attr(target_os = "none", no_std)]

#[cfg(target_os = "none")]
mod console;
#[cfg(any(target_os = "none", test))]
mod counting;
#[cfg(target_os = "none")]
mod drivers;
#[cfg(target_os = "none")]
mod fault;
#[cfg(target_os = "none")]
mod http;
#[cfg(any(target_os = "none", test))]
mod injected;
#[cfg(target_os = "none")]
mod learn;
#[cfg(any(target_os = "none", test))]
mod line;
#[cfg(any(target_os = "none", test))]
mod meter;
#[cfg(target_os = "none")]
mod net;
#[cfg(target_os = "none")]
mod sizes;
#[cfg(target_os = "none")]
mod start;
#[cfg(any(target_os = "none", test))]
mod text;

#[cfg(target_os = "none")]
pub use start::run;

#[cfg(all(
    target_os = "none",
    not(any(
        all(feature = "mps2", not(feature = "stellaris"), not(feature = "virt")),
        all(feature = "stellaris", not(feature = "mps2"), not(feature = "virt")),
        all(feature = "virt", not(feature = "mps2"), not(feature = "stellaris")),
    ))
))]
compile_error!("firmware has the drivers of one family: one of the features mps2, stellaris, virt");

/// The NIC that this firmware has a driver for. A board file that names
/// another does not compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NicModel {
    /// SMSC LAN9118.
    #[cfg(feature = "mps2")]
    Lan9118,
    /// The Ethernet controller of the Stellaris microcontrollers.
    #[cfg(feature = "stellaris")]
    Stellaris,
    /// VirtIO on an MMIO transport.
    #[cfg(feature = "virt")]
    VirtioNetDevice,
}

/// Where a board's devices are. Made by the build script from the board file;
/// the drivers take its word for it.
#[derive(Clone, Copy, Debug)]
pub struct Board {
    /// As in `boards/NAME.toml`.
    pub name: &'static str,
    /// Which NIC it has.
    pub nic_model: NicModel,
    /// Registers of the NIC.
    pub nic_base: usize,
    /// Its interrupt.
    pub nic_irq: u16,
    /// Registers of the console's UART.
    pub console_base: usize,
    /// Its interrupt when it received a byte.
    pub console_rx_irq: u16,
    /// Its interrupt when it sent a byte; may be the same.
    pub console_tx_irq: u16,
    /// Registers of the alarm timer.
    pub timer_base: usize,
    /// Its interrupt.
    pub timer_irq: u16,
    /// What it counts at.
    pub timer_clock_hz: u32,
    /// The free-running counter.
    pub counter_register: usize,
    /// What it counts at.
    pub counter_clock_hz: u32,
    /// Registers of the interrupt controller; 0 where the processor has one.
    pub interrupt_controller_base: usize,
    /// What restarts the machine when it is written; 0 where the processor
    /// does.
    pub reset_register: usize,
}
