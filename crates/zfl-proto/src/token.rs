//! The secret that a client and the coordinator share.

use core::fmt;
use core::str::FromStr;

use subtle::ConstantTimeEq;

/// A client's secret: 128 bits, written as 32 hexadecimal digits.
///
/// Comparison takes the same time wherever two tokens differ. `Debug` does
/// not print the secret.
#[derive(Clone, Copy)]
pub struct Token([u8; Token::BYTES]);

impl Token {
    /// Size of a token.
    pub const BYTES: usize = 16;

    /// A token of these bytes; they must come from a secure source.
    pub const fn new(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// The token as 32 hexadecimal digits.
    pub fn hex(&self) -> [u8; Self::BYTES * 2] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; Self::BYTES * 2];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        text
    }

    /// The token of an `Authorization` header's value, `Bearer <hex>`.
    ///
    /// # Errors
    /// When the scheme or the digits are wrong.
    pub fn from_authorization(value: &[u8]) -> Result<Self, TokenError> {
        let digits = value.strip_prefix(b"Bearer ").ok_or(TokenError::Scheme)?;
        Self::from_hex(digits)
    }

    fn from_hex(digits: &[u8]) -> Result<Self, TokenError> {
        if digits.len() != Self::BYTES * 2 {
            return Err(TokenError::Length(digits.len()));
        }
        let mut bytes = [0; Self::BYTES];
        for (index, digit) in digits.iter().enumerate() {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                b'A'..=b'F' => digit - b'A' + 10,
                _ => return Err(TokenError::Digit(index)),
            };
            bytes[index / 2] = (bytes[index / 2] << 4) | value;
        }
        Ok(Self(bytes))
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Token {}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Writes the secret; for the console line and the header that carry it.
impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        Self::from_hex(text.as_bytes())
    }
}

/// Why a text is not a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// The header's value does not begin with `Bearer `.
    Scheme,
    /// Not 32 digits but so many.
    Length(usize),
    /// The character at this index is no hexadecimal digit.
    Digit(usize),
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheme => f.write_str("expected `Bearer <token>`"),
            Self::Length(length) => {
                write!(f, "a token has 32 hexadecimal digits, this has {length}")
            }
            Self::Digit(index) => write!(f, "digit {index} of the token is not hexadecimal"),
        }
    }
}

impl core::error::Error for TokenError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_its_text() {
        let token = Token::new(core::array::from_fn(|i| (i * 17) as u8));
        let text = token.to_string();
        assert_eq!(text.as_bytes(), token.hex());
        assert_eq!(text.parse(), Ok(token));
        let header = format!("Bearer {text}");
        assert_eq!(Token::from_authorization(header.as_bytes()), Ok(token));
        assert_eq!(format!("{token:?}"), "Token(..)");
    }

    #[test]
    fn a_bad_token_says_what_is_wrong() {
        let check = |text: &[u8], error| assert_eq!(Token::from_authorization(text), Err(error));
        check(b"Basic abc", TokenError::Scheme);
        check(b"Bearer abc", TokenError::Length(3));
        check(
            b"Bearer 0123456789abcdef0123456789abcdeg",
            TokenError::Digit(31),
        );
    }
}
