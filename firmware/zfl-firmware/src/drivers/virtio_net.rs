//! Ethernet: a VirtIO network device on an MMIO transport, as a driver of
//! embassy-net.
//!
//! Source: Virtual I/O Device (VIRTIO) Version 1.2, sections 4.2 and 5.1; the
//! queues are those of the crate virtio-drivers. Each buffer belongs to the
//! device between `begin` and `complete`; a token says which it was. The
//! device lets the network wait where it has no buffer for a frame.

use core::cell::{RefCell, UnsafeCell};
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::Context;

use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState, RxToken, TxToken};
use embassy_sync::waitqueue::AtomicWaker;
use static_cell::ConstStaticCell;
use virtio_drivers::device::net::VirtIONetRaw;
use virtio_drivers::transport::mmio::{MmioTransport, VirtIOHeader};
use virtio_drivers::{BufferDirection, Hal, PAGE_SIZE, PhysAddr};

use super::interrupt::{self, Source};
use super::registers::Registers;
use crate::Board;

const INTERRUPT_STATUS: usize = 0x60;
const INTERRUPT_ACKNOWLEDGE: usize = 0x64;
/// Bytes of registers and configuration.
const MMIO_BYTES: usize = 0x200;

/// Descriptors of each queue; a power of two.
const QUEUE_SIZE: usize = 8;
/// Frames that can wait for us: what the receive windows of all sockets let
/// come, and acknowledgements.
const RX_COUNT: usize = QUEUE_SIZE;
const TX_COUNT: usize = 4;
/// Pages of the queues: two for each.
const DMA_PAGES: usize = 4;

/// Largest Ethernet frame without its CRC.
const FRAME_BYTES_MAX: usize = 1514;
/// A frame and the header that VirtIO puts before it.
const BUFFER_BYTES: usize = 1536;

type Buffer = [u8; BUFFER_BYTES];

static WAKER: AtomicWaker = AtomicWaker::new();
static BASE: AtomicUsize = AtomicUsize::new(0);

/// Memory for queues.
#[repr(C, align(4096))]
struct Pages(UnsafeCell<[u8; DMA_PAGES * PAGE_SIZE]>);

// SAFETY: `dma_alloc` gives each page once; nothing else uses them.
unsafe impl Sync for Pages {}

static PAGES: Pages = Pages(UnsafeCell::new([0; DMA_PAGES * PAGE_SIZE]));
static PAGES_USED: AtomicUsize = AtomicUsize::new(0);

/// Memory as the device sees it: as we do.
struct SameMemory;

// SAFETY: addresses are the same on both sides, and pages are given once, all
// of them zero.
unsafe impl Hal for SameMemory {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let first = PAGES_USED.fetch_add(pages, Ordering::Relaxed);
        let start = PAGES.0.get().cast::<u8>();
        match NonNull::new(start.wrapping_add(first * PAGE_SIZE)) {
            Some(page) if first + pages <= DMA_PAGES => {
                (page.as_ptr().expose_provenance() as u64, page)
            }
            // Address 0 says that there are none.
            _ => (0, NonNull::dangling()),
        }
    }

    unsafe fn dma_dealloc(_: PhysAddr, _: NonNull<u8>, _: usize) -> i32 {
        // The NIC is there for good.
        0
    }

    unsafe fn mmio_phys_to_virt(address: PhysAddr, _: usize) -> NonNull<u8> {
        #[expect(clippy::cast_possible_truncation, reason = "addresses have 32 bits")]
        NonNull::new(ptr::with_exposed_provenance_mut(address as usize))
            .unwrap_or(NonNull::dangling())
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        buffer.cast::<u8>().as_ptr().expose_provenance() as u64
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}

/// Why there is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InitError {
    /// There is no device at the address.
    Absent,
    /// It refuses its queues or buffers.
    Queue,
}

impl core::fmt::Display for InitError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Absent => "there is no VirtIO device (is a NIC attached?)",
            Self::Queue => "the VirtIO network device refuses its queues",
        })
    }
}

type Queues = VirtIONetRaw<SameMemory, MmioTransport<'static>, QUEUE_SIZE>;

/// The device, and whose buffer is where.
struct Device {
    queues: Queues,
    /// The buffer of each token.
    rx_of_token: [usize; QUEUE_SIZE],
    tx_of_token: [usize; QUEUE_SIZE],
    /// Bytes of each buffer that the device has.
    tx_bytes: [Option<usize>; TX_COUNT],
}

impl Device {
    /// Gives buffer `index` to the device, for a frame to come.
    fn offer(&mut self, index: usize, buffer: &mut Buffer) -> Option<()> {
        // SAFETY: nobody looks at the buffer until it is complete.
        let token = unsafe { self.queues.receive_begin(buffer) }.ok()?;
        *self.rx_of_token.get_mut(usize::from(token))? = index;
        Some(())
    }

    /// The buffer of a frame that came, where it begins and its length.
    fn take(&mut self, buffers: &mut [Buffer; RX_COUNT]) -> Option<(usize, usize, usize)> {
        loop {
            let token = self.queues.poll_receive()?;
            let index = *self.rx_of_token.get(usize::from(token))?;
            let buffer = buffers.get_mut(index)?;
            // SAFETY: the buffer that came with this token.
            match unsafe { self.queues.receive_complete(token, buffer) } {
                Ok((begin, length)) => return Some((index, begin, length)),
                Err(_) => self.offer(index, buffer)?,
            }
        }
    }

    /// A buffer that the device does not have; takes back what it has sent.
    fn free(&mut self, buffers: &[Buffer; TX_COUNT]) -> Option<usize> {
        while let Some(token) = self.queues.poll_transmit() {
            let index = *self.tx_of_token.get(usize::from(token))?;
            let length = self.tx_bytes.get_mut(index)?.take()?;
            let sent = buffers.get(index)?.get(..length)?;
            // SAFETY: the bytes that came with this token.
            unsafe { self.queues.transmit_complete(token, sent) }.ok()?;
        }
        self.tx_bytes.iter().position(Option::is_none)
    }

    fn send(&mut self, index: usize, bytes: &[u8]) -> Option<()> {
        // SAFETY: nobody changes the buffer until it is free again.
        let token = unsafe { self.queues.transmit_begin(bytes) }.ok()?;
        *self.tx_of_token.get_mut(usize::from(token))? = index;
        *self.tx_bytes.get_mut(index)? = Some(bytes.len());
        Some(())
    }
}

/// The NIC and its buffers.
pub(crate) struct Nic {
    device: RefCell<Device>,
    rx: &'static mut [Buffer; RX_COUNT],
    tx: &'static mut [Buffer; TX_COUNT],
}

impl Nic {
    /// Starts the device. There is one: its buffers are static.
    pub(crate) fn new(board: &Board) -> Result<Self, InitError> {
        static RX: ConstStaticCell<[Buffer; RX_COUNT]> =
            ConstStaticCell::new([[0; BUFFER_BYTES]; RX_COUNT]);
        static TX: ConstStaticCell<[Buffer; TX_COUNT]> =
            ConstStaticCell::new([[0; BUFFER_BYTES]; TX_COUNT]);
        let header = NonNull::new(ptr::with_exposed_provenance_mut::<VirtIOHeader>(
            board.nic_base,
        ))
        .ok_or(InitError::Absent)?;
        // SAFETY: the board file says that a VirtIO transport is there.
        let transport =
            unsafe { MmioTransport::new(header, MMIO_BYTES) }.map_err(|_| InitError::Absent)?;
        BASE.store(board.nic_base, Ordering::Relaxed);
        interrupt::enable(Source::Nic, board.nic_irq);
        let mut device = Device {
            queues: Queues::new(transport).map_err(|_| InitError::Queue)?,
            rx_of_token: [0; QUEUE_SIZE],
            tx_of_token: [0; QUEUE_SIZE],
            tx_bytes: [None; TX_COUNT],
        };
        let rx = RX.take();
        for (index, buffer) in rx.iter_mut().enumerate() {
            device.offer(index, buffer).ok_or(InitError::Queue)?;
        }
        Ok(Self {
            device: RefCell::new(device),
            rx,
            tx: TX.take(),
        })
    }

    /// The NIC's own address.
    pub(crate) fn address(&self) -> [u8; 6] {
        self.device.borrow().queues.mac_address()
    }
}

pub(super) fn on_interrupt() {
    // SAFETY: `Nic::new` stored the base before it enabled the interrupt.
    let registers = unsafe { Registers::new(BASE.load(Ordering::Relaxed)) };
    registers.write(INTERRUPT_ACKNOWLEDGE, registers.read(INTERRUPT_STATUS));
    WAKER.wake();
}

impl Driver for Nic {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = Transmit<'a>;

    fn receive(&mut self, cx: &mut Context<'_>) -> Option<(Received<'_>, Transmit<'_>)> {
        // First, for what comes after that wakes the task again.
        WAKER.register(cx.waker());
        let free = self.device.get_mut().free(self.tx)?;
        let (index, begin, length) = self.device.get_mut().take(self.rx)?;
        Some((
            Received {
                device: &self.device,
                index,
                buffer: self.rx.get_mut(index)?,
                begin,
                length,
            },
            Transmit {
                device: &self.device,
                index: free,
                buffer: self.tx.get_mut(free)?,
            },
        ))
    }

    fn transmit(&mut self, cx: &mut Context<'_>) -> Option<Transmit<'_>> {
        WAKER.register(cx.waker());
        let free = self.device.get_mut().free(self.tx)?;
        Some(Transmit {
            device: &self.device,
            index: free,
            buffer: self.tx.get_mut(free)?,
        })
    }

    fn link_state(&mut self, _: &mut Context<'_>) -> LinkState {
        // The cable of an emulated NIC is never pulled.
        LinkState::Up
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.max_transmission_unit = FRAME_BYTES_MAX;
        // smoltcp would announce no larger window than a burst, and take 14 bytes
        // too much for a segment: each window would be filled by two. The windows
        // that `sizes` gives are what this can take at once.
        capabilities.max_burst_size = None;
        capabilities
    }

    fn hardware_address(&self) -> HardwareAddress {
        HardwareAddress::Ethernet(self.address())
    }
}

/// A frame that came in. Dropped, its buffer goes back to the device.
pub(crate) struct Received<'a> {
    device: &'a RefCell<Device>,
    index: usize,
    buffer: &'a mut Buffer,
    begin: usize,
    length: usize,
}

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, f: F) -> R {
        let end = self.begin + self.length;
        f(self.buffer.get_mut(self.begin..end).unwrap_or(&mut []))
    }
}

impl Drop for Received<'_> {
    fn drop(&mut self) {
        // It has as many places as there are buffers.
        let _ = self.device.borrow_mut().offer(self.index, self.buffer);
    }
}

/// The right to send one frame.
pub(crate) struct Transmit<'a> {
    device: &'a RefCell<Device>,
    index: usize,
    buffer: &'a mut Buffer,
}

impl TxToken for Transmit<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let length = length.min(FRAME_BYTES_MAX);
        let begin = self
            .device
            .borrow()
            .queues
            .fill_buffer_header(self.buffer)
            .unwrap_or(0);
        let (bytes, _) = self.buffer.split_at_mut(begin + length);
        let (_, frame) = bytes.split_at_mut(begin);
        // It may be an answer, during which the frame that came is borrowed.
        let result = f(frame);
        // A frame that the device does not take is lost, as frames are.
        let _ = self.device.borrow_mut().send(self.index, bytes);
        result
    }
}
