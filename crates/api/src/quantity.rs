//! Quantities of resources: exact decimal numbers with a suffix, such as `1500m` or `2Gi`.
//!
//! Semantics are those of apimachinery's `resource.Quantity`: parsed to nano precision (finer
//! digits round up, away from zero), capped at 2^63-1, written in canonical form. No floats.

use std::fmt;

/// How a quantity was written, which is how it is written again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// `e` with an exponent, such as `12e6`.
    DecimalExponent,
    /// Powers of 1024: `Ki`, `Mi`, ...
    BinarySi,
    /// Powers of 1000: `m`, `k`, `M`, ...
    DecimalSi,
}

/// An exact amount.
#[derive(Debug, Clone, Copy)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

/// Why a text is not a quantity, in apimachinery's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not of the form NUMBER SUFFIX.
    #[error(
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    )]
    Shape,
    /// A number without digits or with more than one point.
    #[error("unable to parse numeric part of quantity")]
    Number,
    /// A suffix that does not exist.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

const NANO: i128 = 1_000_000_000;
/// Kubernetes caps a quantity's magnitude at 2^63-1.
const LARGEST: i128 = i64::MAX as i128 * NANO;

const BINARY: [(&str, u32); 6] = [
    ("Ki", 10),
    ("Mi", 20),
    ("Gi", 30),
    ("Ti", 40),
    ("Pi", 50),
    ("Ei", 60),
];
const DECIMAL: [(&str, i32); 10] = [
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];

impl Quantity {
    /// Zero.
    pub const ZERO: Self = Self {
        nanos: 0,
        format: Format::DecimalSi,
    };

    /// A whole number of units, written with decimal suffixes.
    #[must_use]
    pub const fn from_units(units: i64) -> Self {
        Self {
            nanos: units as i128 * NANO,
            format: Format::DecimalSi,
        }
    }

    /// A number of thousandths, such as millicores.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self {
            nanos: millis as i128 * (NANO / 1000),
            format: Format::DecimalSi,
        }
    }

    /// A number of bytes, written with binary suffixes.
    #[must_use]
    pub const fn from_bytes(bytes: i64) -> Self {
        Self {
            nanos: bytes as i128 * NANO,
            format: Format::BinarySi,
        }
    }

    /// Thousandths, rounded up: cpu as the scheduler counts it. Saturates.
    #[must_use]
    pub fn millis(&self) -> i64 {
        saturate(ceiling(self.nanos, NANO / 1000))
    }

    /// Whole units, rounded up: memory in bytes, pods in pods. Saturates.
    #[must_use]
    pub fn units(&self) -> i64 {
        saturate(ceiling(self.nanos, NANO))
    }

    /// Billionths, exactly.
    #[must_use]
    pub const fn nanos(&self) -> i128 {
        self.nanos
    }

    /// Whether it is a whole number of units.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.nanos % NANO == 0
    }

    /// Below zero.
    #[must_use]
    pub const fn is_negative(&self) -> bool {
        self.nanos < 0
    }

    /// Exactly zero.
    #[must_use]
    pub const fn is_zero(&self) -> bool {
        self.nanos == 0
    }

    /// The sum, in the format of the left side, capped as parsing caps.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            nanos: (self.nanos + other.nanos).clamp(-LARGEST, LARGEST),
            format: self.format,
        }
    }
}

/// Division that rounds away from zero, as Kubernetes rounds what it cannot hold.
fn ceiling(value: i128, unit: i128) -> i128 {
    let (whole, rest) = (value / unit, value % unit);
    if rest == 0 {
        whole
    } else {
        whole + value.signum()
    }
}

fn saturate(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl std::str::FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let (negative, rest) = match text.as_bytes().first() {
            None => return Err(QuantityError::Shape),
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            Some(_) => (false, text),
        };
        let end = rest
            .bytes()
            .position(|byte| !byte.is_ascii_digit() && byte != b'.')
            .unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(end);
        if number.is_empty() {
            return Err(QuantityError::Shape);
        }
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.contains('.') || whole.len() + fraction.len() == 0 {
            return Err(QuantityError::Number);
        }
        let (format, scale) = suffix_scale(suffix)?;
        let magnitude = magnitude(whole, fraction, scale);
        Ok(Self {
            nanos: if negative { -magnitude } else { magnitude },
            format,
        })
    }
}

/// What a suffix multiplies by.
#[derive(Clone, Copy)]
enum Scale {
    PowerOfTwo(u32),
    PowerOfTen(i32),
}

fn suffix_scale(suffix: &str) -> Result<(Format, Scale), QuantityError> {
    if let Some((_, power)) = BINARY.iter().find(|(name, _)| *name == suffix) {
        return Ok((Format::BinarySi, Scale::PowerOfTwo(*power)));
    }
    if let Some((_, power)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        return Ok((Format::DecimalSi, Scale::PowerOfTen(*power)));
    }
    let shaped = suffix
        .bytes()
        .all(|byte| b"eEinumkKMGTP+-0123456789".contains(&byte));
    let exponent = suffix
        .strip_prefix(['e', 'E'])
        .filter(|digits| !digits.is_empty());
    match exponent.map(str::parse::<i32>) {
        Some(Ok(power)) => Ok((Format::DecimalExponent, Scale::PowerOfTen(power))),
        _ if shaped => Err(QuantityError::Suffix),
        _ => Err(QuantityError::Shape),
    }
}

/// `whole.fraction` times the scale, in nanos, rounded up and capped. Digits are taken one by one, so that no
/// intermediate value can overflow however long the text is.
fn magnitude(whole: &str, fraction: &str, scale: Scale) -> i128 {
    let mut digits: Vec<u8> = whole
        .bytes()
        .chain(fraction.bytes())
        .map(|digit| digit - b'0')
        .collect();
    let leading = digits.iter().take_while(|digit| **digit == 0).count();
    digits.drain(..leading);
    let mut fraction_digits = fraction.len();
    while fraction_digits > 0 && digits.last() == Some(&0) {
        digits.pop();
        fraction_digits -= 1;
    }
    if digits.is_empty() {
        return 0;
    }
    let power = match scale {
        Scale::PowerOfTen(power) => i64::from(power),
        Scale::PowerOfTwo(_) => 0,
    };
    // The value is `digits` x 10^shift nanos (x 2^n for a binary suffix).
    let shift = 9 + power - i64::try_from(fraction_digits).unwrap_or(i64::MAX / 2);
    let size = i64::try_from(digits.len()).unwrap_or(i64::MAX / 2) + shift;
    if size > 30 {
        return LARGEST;
    }
    let two = match scale {
        Scale::PowerOfTwo(power) => power,
        Scale::PowerOfTen(_) => 0,
    };
    scaled(&digits, shift, two).min(LARGEST)
}

/// `digits` x 10^shift x 2^two, rounded up; the caller has made sure that digits + shift is at most 30 places.
fn scaled(digits: &[u8], shift: i64, two: u32) -> i128 {
    if shift >= 0 {
        let value = digits
            .iter()
            .fold(0i128, |sum, digit| sum * 10 + i128::from(*digit));
        let tens = u32::try_from(shift)
            .ok()
            .and_then(|shift| 10i128.checked_pow(shift));
        return tens
            .and_then(|tens| value.checked_mul(tens))
            .and_then(|value| value.checked_mul(1i128 << two))
            .unwrap_or(LARGEST);
    }
    // Long division keeps the remainder as digits: 2^two is multiplied in first, so nothing is lost before rounding.
    let drop = usize::try_from(-shift).unwrap_or(usize::MAX);
    let product = multiply(digits, 1u128 << two);
    let keep = product.len().saturating_sub(drop);
    let whole = product[..keep].iter().try_fold(0i128, |sum, digit| {
        sum.checked_mul(10)
            .and_then(|sum| sum.checked_add(i128::from(*digit)))
    });
    let rest = product[keep..].iter().any(|digit| *digit != 0);
    whole.map_or(LARGEST, |whole| whole + i128::from(rest))
}

/// Decimal digits times a factor, as decimal digits.
fn multiply(digits: &[u8], factor: u128) -> Vec<u8> {
    let mut product = Vec::with_capacity(digits.len() + 20);
    let mut carry = 0u128;
    for digit in digits.iter().rev() {
        carry += u128::from(*digit) * factor;
        product.push((carry % 10) as u8);
        carry /= 10;
    }
    while carry > 0 {
        product.push((carry % 10) as u8);
        carry /= 10;
    }
    product.reverse();
    product
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        // Kubernetes falls back to decimal suffixes for a binary amount below 1024 that is not whole.
        let binary =
            self.format == Format::BinarySi && (self.nanos.abs() >= 1024 * NANO || self.is_whole());
        if binary {
            return self.fmt_binary(f);
        }
        let (mut value, mut power) = (self.nanos, -9i32);
        while value % 1000 == 0 && power < 18 {
            value /= 1000;
            power += 3;
        }
        if self.format == Format::DecimalExponent {
            return if power == 0 {
                write!(f, "{value}")
            } else {
                write!(f, "{value}e{power}")
            };
        }
        let suffix = DECIMAL
            .iter()
            .find(|(_, known)| *known == power)
            .map_or("", |(name, _)| name);
        write!(f, "{value}{suffix}")
    }
}

impl Quantity {
    /// Binary suffixes hold whole units only: a fraction is rounded up.
    fn fmt_binary(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut value, mut suffix) = (ceiling(self.nanos, NANO), "");
        for (name, _) in BINARY {
            if value % 1024 != 0 {
                break;
            }
            value /= 1024;
            suffix = name;
        }
        write!(f, "{value}{suffix}")
    }
}

#[cfg(test)]
mod tests;
