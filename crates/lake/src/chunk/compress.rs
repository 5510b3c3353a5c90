//! Compressing pages.
//!
//! Invariant: what is made is a zstd frame like any other, with the checksum of its content, which every decoder compares: a bit that
//! has flipped is an error and not another value. A thread makes its compressor once, since one costs more than many a page.

use super::REFUSED;
use bytes::Bytes;
use parquet::basic::{Compression, ZstdLevel};
use std::cell::RefCell;
use tillhouse_model::{ErrorKind, Result, ResultExt};
use zstd::zstd_safe::{CParameter, ParamSwitch};

/// zstd's level. Ids and hashes are most of what is compressed, and looking for repetitions in them is in vain: a faster level than its
/// first, with letters packed as there, makes files that are 2 % larger in two thirds of the time.
const LEVEL: i32 = -3;
/// Shorter repetitions than this are not looked for.
const SHORTEST: u32 = 7;

/// What pages are compressed with, as the footer has it.
pub(crate) fn compression() -> Compression {
    // The footer has no level.
    Compression::ZSTD(ZstdLevel::default())
}

thread_local! {
    pub(super) static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// What a thread compresses pages with.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) plain: Vec<u8>,
    packed: Vec<u8>,
    compressor: Option<zstd::bulk::Compressor<'static>>,
}

impl Scratch {
    /// `plain`, compressed.
    pub(super) fn compressed(&mut self) -> Result<Bytes> {
        let compressor = match &mut self.compressor {
            Some(compressor) => compressor,
            none => {
                let mut new = zstd::bulk::Compressor::new(LEVEL).or_error(ErrorKind::Internal, REFUSED)?;
                for parameter in [
                    CParameter::LiteralCompressionMode(ParamSwitch::Enable),
                    CParameter::MinMatch(SHORTEST),
                    CParameter::ChecksumFlag(true),
                ] {
                    new.set_parameter(parameter).or_error(ErrorKind::Internal, REFUSED)?;
                }
                none.insert(new)
            }
        };
        self.packed.clear();
        self.packed.reserve(zstd::zstd_safe::compress_bound(self.plain.len()));
        compressor.compress_to_buffer(&self.plain, &mut self.packed).or_error(ErrorKind::Internal, REFUSED)?;
        Ok(Bytes::copy_from_slice(&self.packed))
    }
}
