//! Compression of pages.
//!
//! Invariant: a page is a zstd frame like any other, with the checksum of its content, which every decoder compares: a bit that has flipped
//! is an error and not another value. A thread makes its compressor once, since one costs more than many a page.

use crate::error::{EncodeError, Result};
use bytes::Bytes;
use parquet::basic::{Compression, ZstdLevel};
use std::cell::RefCell;
use zstd::zstd_safe::{CParameter, ParamSwitch};

/// zstd's level. Ids and hashes are most of what is compressed, and looking for repetitions in them is in vain: a faster level than its
/// first, with letters packed as there, makes files that are 2 % larger in two thirds of the time.
const LEVEL: i32 = -3;
/// Shorter repetitions than this are not looked for.
const SHORTEST: u32 = 7;

/// Compression of the pages, as a file's footer names it: a file's writer properties have to name it too.
///
/// ```
/// use parquet::file::properties::WriterProperties;
///
/// let properties = WriterProperties::builder().set_compression(tillhouse_parquet_columns::compression()).build();
/// # assert!(matches!(tillhouse_parquet_columns::compression(), parquet::basic::Compression::ZSTD(_)));
/// ```
pub fn compression() -> Compression {
    // The footer has no level.
    Compression::ZSTD(ZstdLevel::default())
}

thread_local! {
    pub(crate) static SCRATCH: RefCell<CompressionScratch> = RefCell::default();
}

/// Buffers and compressor of one thread.
#[derive(Default)]
pub(crate) struct CompressionScratch {
    pub(crate) plain: Vec<u8>,
    packed: Vec<u8>,
    compressor: Option<zstd::bulk::Compressor<'static>>,
}

impl CompressionScratch {
    /// `plain`, compressed.
    pub(crate) fn compressed(&mut self) -> Result<Bytes> {
        let compressor = match &mut self.compressor {
            Some(compressor) => compressor,
            none => {
                let mut new =
                    zstd::bulk::Compressor::new(LEVEL).map_err(EncodeError::Compression)?;
                for parameter in [
                    CParameter::LiteralCompressionMode(ParamSwitch::Enable),
                    CParameter::MinMatch(SHORTEST),
                    CParameter::ChecksumFlag(true),
                ] {
                    new.set_parameter(parameter)
                        .map_err(EncodeError::Compression)?;
                }
                none.insert(new)
            }
        };
        self.packed.clear();
        self.packed
            .reserve(zstd::zstd_safe::compress_bound(self.plain.len()));
        compressor
            .compress_to_buffer(&self.plain, &mut self.packed)
            .map_err(EncodeError::Compression)?;
        Ok(Bytes::copy_from_slice(&self.packed))
    }
}
