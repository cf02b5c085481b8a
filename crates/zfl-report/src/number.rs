//! Numbers as people read them: units with prefixes, ticks, significant digits.

/// The clock that the times of an axis were read on. Where two are added up, its
/// label says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    /// Wall time of the machine that ran zfl.
    Host,
    /// The device's: what its part would take, or what its own clock says.
    Device,
    /// What the models of device and link say, added up; host time is not in it.
    DeviceAndLink,
}

impl Clock {
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Host => "host clock",
            Self::Device => "device clock",
            Self::DeviceAndLink => "device + link clock",
        }
    }
}

/// What a value is counted in, as the records have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// A number without one.
    Plain,
    /// A part of one.
    Share,
    /// Things of that name.
    Count(&'static str),
    /// Bytes.
    Bytes,
    /// Bytes, in powers of 1024 as memory comes.
    MemoryBytes,
    /// Seconds.
    Seconds,
    /// Millijoules.
    Millijoules,
    /// Any other, by name.
    Named(String),
}

impl Unit {
    /// What values up to `magnitude` are divided by, and the unit they are then in.
    pub(crate) fn scaled(&self, magnitude: f64) -> (f64, &str) {
        let steps: &[(f64, &'static str)] = match self {
            Self::Plain => &[(1.0, "")],
            Self::Share => &[(1.0, "share")],
            Self::Count(name) => return (1.0, name),
            Self::Named(name) => return (1.0, name),
            Self::Bytes => &[
                (1.0, "B"),
                (1e3, "kB"),
                (1e6, "MB"),
                (1e9, "GB"),
                (1e12, "TB"),
            ],
            Self::MemoryBytes => &[
                (1.0, "B"),
                (1024.0, "KiB"),
                (1_048_576.0, "MiB"),
                (1_073_741_824.0, "GiB"),
            ],
            Self::Seconds => &[(1e-6, "µs"), (1e-3, "ms"), (1.0, "s"), (3600.0, "h")],
            Self::Millijoules => &[(1e-3, "µJ"), (1.0, "mJ"), (1e3, "J"), (1e6, "kJ")],
        };
        let (first, rest) = match steps.split_first() {
            Some((first, rest)) => (*first, rest),
            None => ((1.0, ""), steps),
        };
        // An hour has no decimal look: seconds are kept up to two of them.
        let least = |divisor: f64| if divisor == 3600.0 { 7200.0 } else { divisor };
        rest.iter()
            .rev()
            .find(|(divisor, _)| magnitude >= least(*divisor))
            .copied()
            .unwrap_or(first)
    }

    /// A value with its unit, at three significant digits (a share at four).
    pub(crate) fn show(&self, value: f64) -> String {
        if !value.is_finite() {
            return "–".to_owned();
        }
        let (divisor, unit) = self.scaled(value.abs());
        let digits = match self {
            Self::Share | Self::Plain => 4,
            _ => 3,
        };
        let number = match self {
            Self::Count(_) => grouped(value),
            _ => significant(value / divisor, digits),
        };
        match self {
            Self::Share | Self::Plain => number,
            _ if unit.is_empty() => number,
            _ => format!("{number}\u{a0}{unit}"),
        }
    }
}

/// A number at so many significant digits, without an exponent where that reads
/// well.
pub(crate) fn significant(value: f64, digits: i32) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    let exponent = value.abs().log10().floor();
    if !(-5.0..15.0).contains(&exponent) {
        let places = usize::try_from(digits - 1).unwrap_or(0);
        return signed(format!("{value:.places$e}"));
    }
    // Between −5 and 15, so it fits.
    let places = usize::try_from(digits - 1 - exponent as i32).unwrap_or(0);
    let text = format!("{value:.places$}");
    if places == 0 {
        return grouped(value);
    }
    signed(text)
}

/// The same without zeros at its end: for values that somebody has chosen.
pub(crate) fn compact(value: f64, digits: i32) -> String {
    let text = significant(value, digits);
    match text.contains('.') && !text.contains('e') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// A whole number in groups of three digits, as `12 345`.
pub(crate) fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        let rest = digits.len() - index;
        // Four digits stand without a gap.
        if index > 0 && rest % 3 == 0 && digits.len() > 4 {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    if value < 0.0 && digits.chars().any(|digit| digit != '0') {
        text.insert(0, '−');
    }
    text
}

/// With a minus sign as typography has it.
fn signed(text: String) -> String {
    match text.strip_prefix('-') {
        Some(rest) => format!("−{rest}"),
        None => text,
    }
}

/// Round numbers between two others, at most `count_max` and a few fewer; and how
/// many decimals they need.
pub(crate) fn ticks(low: f64, high: f64, count_max: usize) -> (Vec<f64>, usize) {
    let span = high - low;
    if !span.is_finite() || span <= 0.0 || count_max < 2 {
        return (vec![low], 0);
    }
    let rough = span / count_max as f64;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= rough * 0.999)
        .unwrap_or(10.0 * power);
    let decimals = (-(step.log10() + 1e-9).floor()).clamp(0.0, 12.0) as usize;
    let first = (low / step - 1e-9).ceil();
    let ticks = (0..=count_max + 1)
        .map(|index| (first + index as f64) * step)
        .take_while(|tick| *tick <= high + step * 1e-9)
        // Not −0.
        .map(|tick| if tick == 0.0 { 0.0 } else { tick })
        .collect();
    (ticks, decimals)
}

/// Powers of ten between two positive numbers, with 2 and 5 where there are few.
pub(crate) fn log_ticks(low: f64, high: f64) -> Vec<f64> {
    let (first, last) = (low.log10().floor(), high.log10().ceil());
    if !first.is_finite() || !last.is_finite() {
        return vec![low];
    }
    let factors: &[f64] = match last - first {
        span if span <= 3.0 => &[1.0, 2.0, 5.0],
        _ => &[1.0],
    };
    let mut ticks = Vec::new();
    let mut exponent = first;
    while exponent <= last && ticks.len() < 60 {
        for factor in factors {
            let tick = factor * 10f64.powf(exponent);
            if tick >= low * 0.999 && tick <= high * 1.001 {
                ticks.push(tick);
            }
        }
        exponent += 1.0;
    }
    ticks
}

/// A tick of such an axis.
pub(crate) fn tick_text(value: f64, decimals: usize) -> String {
    if decimals == 0 {
        grouped(value)
    } else {
        signed(format!("{value:.decimals$}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_unit_that_suits_them() {
        for (unit, value, text) in [
            (Unit::Bytes, 4952.0, "4.95\u{a0}kB"),
            (Unit::Bytes, 999.0, "999\u{a0}B"),
            (Unit::MemoryBytes, 307_956.0, "301\u{a0}KiB"),
            (Unit::Seconds, 0.046_4, "46.4\u{a0}ms"),
            (Unit::Seconds, 5400.0, "5400\u{a0}s"),
            (Unit::Seconds, 9000.0, "2.50\u{a0}h"),
            (Unit::Millijoules, 4285.9, "4.29\u{a0}J"),
            (Unit::Millijoules, 0.0, "0\u{a0}µJ"),
            (Unit::Share, 0.969_359, "0.9694"),
            (Unit::Count("rounds"), 12_345.0, "12\u{202f}345\u{a0}rounds"),
            (Unit::Share, f64::NAN, "–"),
        ] {
            assert_eq!(unit.show(value), text);
        }
    }

    #[test]
    fn significant_digits_are_kept() {
        for (value, digits, text) in [
            (0.012_345, 3, "0.0123"),
            (-12.345, 3, "−12.3"),
            (123_456.0, 3, "123\u{202f}456"),
            (1.0e-9, 3, "1.00e-9"),
            (0.0, 3, "0"),
        ] {
            assert_eq!(significant(value, digits), text);
        }
        for (value, text) in [
            (20.0, "20"),
            (0.316_23, "0.3162"),
            (0.1, "0.1"),
            (600.0, "600"),
        ] {
            assert_eq!(compact(value, 4), text);
        }
    }

    #[track_caller]
    fn check_ticks(low: f64, high: f64, count_max: usize, expected: &[&str]) {
        let (ticks, decimals) = ticks(low, high, count_max);
        let texts: Vec<String> = ticks
            .iter()
            .map(|tick| tick_text(*tick, decimals))
            .collect();
        assert_eq!(texts, expected);
    }

    #[test]
    fn ticks_are_round() {
        check_ticks(0.0, 1.0, 5, &["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        check_ticks(1.0, 20.0, 6, &["5", "10", "15", "20"]);
        check_ticks(-0.1, 0.1, 4, &["−0.10", "−0.05", "0.00", "0.05", "0.10"]);
        check_ticks(0.0, 12_000.0, 4, &["0", "5000", "10\u{202f}000"]);
        check_ticks(3.0, 3.0, 5, &["3"]);
    }

    #[test]
    fn ticks_of_a_logarithm_are_powers() {
        assert_eq!(log_ticks(1.0, 20.0), [1.0, 2.0, 5.0, 10.0, 20.0]);
        assert_eq!(log_ticks(1.0, 1e5).len(), 6);
        assert_eq!(log_ticks(0.0, 1.0), [0.0]);
    }
}
