//! The protobuf wire format (protobuf.dev, "Encoding"): fields of a message, one after the other.

use super::Fault;

/// What a field holds on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Payload<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

impl Payload<'_> {
    /// Whether it is what a field that was never set holds.
    pub(super) fn is_zero(&self) -> bool {
        matches!(
            self,
            Self::Varint(0) | Self::Fixed64(0) | Self::Fixed32(0) | Self::Bytes([])
        )
    }
}

/// Reads the fields of one message.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next field and its number, `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u32, Payload<'a>)>, Fault> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        // Numbers go up to 2^29 - 1.
        let number = u32::try_from(tag >> 3)
            .ok()
            .filter(|number| (1..1 << 29).contains(number));
        let number = number.ok_or(Fault::Wire("a field number is out of range"))?;
        let payload = match tag & 7 {
            0 => Payload::Varint(self.varint()?),
            1 => Payload::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
                Payload::Bytes(self.take(length)?)
            }
            5 => Payload::Fixed32(u32::from_le_bytes(self.array()?)),
            // Groups, 3 and 4, are in none of Kubernetes' messages.
            _ => return Err(Fault::Wire("a field has an unknown wire type")),
        };
        Ok(Some((number, payload)))
    }

    /// Seven bits a byte, the lowest first; at most ten bytes.
    pub(super) fn varint(&mut self) -> Result<u64, Fault> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self
                .rest
                .split_first()
                .ok_or(Fault::Wire("the bytes end too early"))?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return if shift == 63 && *byte > 1 {
                    Err(Fault::Wire("a number is too large"))
                } else {
                    Ok(value)
                };
            }
        }
        Err(Fault::Wire("a number is too long"))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(Fault::Wire("the bytes end too early"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (taken, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(Fault::Wire("the bytes end too early"))?;
        self.rest = rest;
        Ok(*taken)
    }
}
