//! Messages: what is decoded is written as it was read, but for a tail that
//! this version ignores, and a client and a coordinator see the same in it.

use zfl_proto::message::{
    Assignment, DataHeader, DataPart, DecodeError, HEADER_BYTES_MAX, HeaderBytes, Kind,
    PREFIX_BYTES, Prefix, StartHeader, TASK_BYTES_MAX, UpdateHeader,
};

/// Decodes `bytes` as each kind of message.
pub(crate) fn check(bytes: &[u8]) {
    let prefix = Prefix::decode(bytes);
    let decoded = [
        Assignment::decode(bytes).map(|header| (Kind::Assignment, header.encode())),
        DataHeader::decode(bytes, DataPart::Samples).map(|header| (Kind::Samples, header.encode())),
        DataHeader::decode(bytes, DataPart::Labels).map(|header| (Kind::Labels, header.encode())),
        StartHeader::decode(bytes).map(|header| {
            assert!(header.task.len() <= TASK_BYTES_MAX);
            (Kind::Start, header.encode())
        }),
        UpdateHeader::decode(bytes).map(|header| (Kind::Update, header.encode())),
    ];
    let mut count = 0;
    for decoded in decoded {
        match (decoded, prefix) {
            (Ok((kind, written)), Ok(prefix)) => {
                count += 1;
                assert_eq!(prefix.kind, kind);
                written_as_read(kind, bytes, &prefix, &written);
            }
            (Ok(_), Err(error)) => panic!("a message without a prefix: {error}"),
            (Err(error), _) => error_is_in_bounds(error, bytes),
        }
    }
    assert!(count <= 1, "a message of {count} kinds");
    if let Err(error) = prefix {
        error_is_in_bounds(error, bytes);
    }
}

fn written_as_read(kind: Kind, bytes: &[u8], prefix: &Prefix, written: &HeaderBytes) {
    let written = written.as_slice();
    let read = &bytes[..prefix.header_bytes];
    // An update may lack the counters at its end, which are 0 then: whole ones.
    let missing = written.len().saturating_sub(read.len());
    assert!(missing == 0 || kind == Kind::Update);
    let (told, untold) = written.split_at(written.len() - missing.next_multiple_of(4));
    assert!(untold.iter().all(|byte| *byte == 0));
    // The length of the header is that of this version; an assignment has no
    // payload, and what is said of one is ignored.
    let ignored = |at: usize| {
        (6..8).contains(&at) || kind == Kind::Assignment && (12..PREFIX_BYTES).contains(&at)
    };
    for (at, (written, read)) in told.iter().zip(read).enumerate() {
        assert!(written == read || ignored(at), "byte {at} of {kind:?}");
    }
    if kind == Kind::Start {
        assert_eq!(written.len(), read.len(), "all of a task is kept");
    }
}

fn error_is_in_bounds(error: DecodeError, bytes: &[u8]) {
    assert!(!error.to_string().is_empty());
    match error {
        DecodeError::Truncated {
            needed_bytes,
            present_bytes,
        } => {
            assert_eq!(present_bytes, bytes.len());
            assert!(needed_bytes > present_bytes && needed_bytes <= HEADER_BYTES_MAX);
        }
        DecodeError::Field { offset, .. } => assert!(offset < bytes.len()),
        DecodeError::Magic => assert!(bytes.len() >= PREFIX_BYTES),
        DecodeError::Kind { found, .. } => assert_eq!(Some(&found), bytes.get(4)),
    }
}
