//! Updates that are wrong on purpose.

use bytemuck::Pod;
use zfl_nn::{Draw, Weight};
use zfl_proto::message::Encoding;
use zfl_seed::{Purpose, Stream};

/// How the parameters of an update are falsified.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tamper {
    /// None of them is a number. Fixed point has no such value: nothing
    /// changes there.
    Nan,
    /// Each has the opposite sign.
    Negate,
    /// Each is multiplied.
    Scale(f32),
    /// Each is drawn uniformly between this and its negative.
    Random(f32),
}

/// Falsifies the parameters of a payload, in place.
pub(crate) fn falsify(payload: &mut [u8], encoding: Encoding, tamper: Tamper, draw: Draw) {
    match encoding {
        Encoding::F32 => each::<f32, 4>(payload, tamper, draw),
        Encoding::Fixed32 => each::<i32, 4>(payload, tamper, draw),
        Encoding::Fixed16 => each::<i16, 2>(payload, tamper, draw),
        Encoding::Fixed8 => each::<i8, 1>(payload, tamper, draw),
        // No update is encoded so.
        Encoding::None | Encoding::U8 => {}
    }
}

fn each<W: Weight + Pod, const N: usize>(payload: &mut [u8], tamper: Tamper, draw: Draw) {
    let purpose = Purpose::FaultPoisonValues;
    let mut stream = Stream::for_round(draw.seed, purpose, draw.client, draw.round);
    let (values, _) = payload.as_chunks_mut::<N>();
    for bytes in values {
        let value = bytemuck::pod_read_unaligned::<W>(bytes);
        let wrong = match tamper {
            // An integer would be 0.
            Tamper::Nan if !W::from_f32(f32::NAN).to_f32().is_nan() => value,
            Tamper::Nan => W::from_f32(f32::NAN),
            Tamper::Negate => W::from_f32(-value.to_f32()),
            Tamper::Scale(factor) => W::from_f32(value.to_f32() * factor),
            Tamper::Random(most) => W::from_f32((stream.unit_f32() * 2.0 - 1.0) * most),
        };
        bytes.copy_from_slice(bytemuck::bytes_of(&wrong));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAW: Draw = Draw {
        seed: 1,
        client: 2,
        round: 3,
    };

    fn falsified(encoding: Encoding, tamper: Tamper) -> [f32; 3] {
        const VALUES: [f32; 3] = [0.5, -1.25, 1.5];
        fn of<W: Weight + Pod>(encoding: Encoding, tamper: Tamper) -> [f32; 3] {
            let mut values = VALUES.map(W::from_f32);
            falsify(
                bytemuck::cast_slice_mut(&mut values),
                encoding,
                tamper,
                DRAW,
            );
            values.map(W::to_f32)
        }
        match encoding {
            Encoding::F32 => of::<f32>(encoding, tamper),
            Encoding::Fixed32 => of::<i32>(encoding, tamper),
            Encoding::Fixed16 => of::<i16>(encoding, tamper),
            _ => of::<i8>(encoding, tamper),
        }
    }

    #[test]
    fn every_encoding_is_falsified() {
        let fixed = [Encoding::Fixed32, Encoding::Fixed16, Encoding::Fixed8];
        let all = [Encoding::F32, fixed[0], fixed[1], fixed[2]];
        for encoding in all {
            let falsified = |tamper| falsified(encoding, tamper);
            assert_eq!(falsified(Tamper::Negate), [-0.5, 1.25, -1.5]);
            assert_eq!(falsified(Tamper::Scale(0.5)), [0.25, -0.625, 0.75]);
            let random = falsified(Tamper::Random(0.5));
            assert!(random.iter().all(|value| value.abs() <= 0.5), "{random:?}");
            assert!(random[0] != random[1], "{random:?}");
            assert_eq!(random, falsified(Tamper::Random(0.5)));
        }
        let nan = falsified(Encoding::F32, Tamper::Nan);
        assert!(nan.iter().all(|value| value.is_nan()));
        for encoding in fixed {
            assert_eq!(falsified(encoding, Tamper::Nan), [0.5, -1.25, 1.5]);
        }
        // What is out of range is the last that is in range.
        let most = falsified(Encoding::Fixed8, Tamper::Scale(1e9))[0];
        assert!((1.9..2.0).contains(&most), "{most}");
    }
}
