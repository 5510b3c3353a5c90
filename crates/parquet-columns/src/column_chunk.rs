//! The column chunk of one leaf: pages, and the dictionary as long as it pays.
//!
//! Invariant: a page begins with a row. Once a page has gone through the dictionary, the dictionary is kept; what comes after it has
//! grown too large is written plainly.

use crate::compress::{SCRATCH, compression};
use crate::dictionary::ChunkDictionary;
use crate::encoder::{ChunkPages, EncodedChunk};
use crate::error::{EncodeError, Result};
use crate::nesting::{NestingLevels, Selection};
use crate::page_levels::PageLevels;
use crate::rle;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Int64Type, TimeUnit, TimestampMicrosecondType,
};
use bytes::Bytes;
use parquet::basic::{Encoding, PageType, Type};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::{ByteArray, FixedLenByteArray};
use parquet::file::metadata::{ColumnChunkMetaData, OffsetIndexBuilder, PageEncodingStats};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::statistics::Statistics;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;

/// A page ends with the slice in which it has so many rows or bytes.
const PAGE_ROWS: usize = 20_480;
const PAGE_BYTES: usize = 64 << 10;
/// A column's dictionary ends with so many bytes: each of a hundred columns may have one.
const DICTIONARY_BYTES: usize = 96 << 10;
/// After so many values a dictionary has to have shown that they repeat.
const TRIAL: usize = 1_024;
/// Longer texts are no bounds.
const BOUND_BYTES: usize = 64;

/// The smallest and the largest value so far.
#[derive(Clone, Copy, Default)]
struct ValueBounds(Option<(i128, i128)>);

impl ValueBounds {
    fn widen(&mut self, min: i128, max: i128) {
        self.0 = Some(self.0.map_or((min, max), |(a, b)| (a.min(min), b.max(max))));
    }
}

/// A full page that waits for the end of its chunk.
#[derive(Clone)]
struct PendingPage {
    page: Page,
    plain_bytes: usize,
    rows: usize,
}

/// Writer of the column chunk of one leaf: pages, and a dictionary as long as it pays.
#[derive(Clone)]
pub(crate) struct ColumnChunkWriter {
    descriptor: ColumnDescPtr,
    /// Bytes of a value that always has as many; 0 for texts and flags.
    width: usize,
    statistics: bool,
    dictionary: Option<ChunkDictionary>,
    /// True as long as values go through the dictionary.
    repeats: bool,
    on_trial: bool,
    pending: Vec<PendingPage>,
    pending_bytes: usize,
    // The page that is not full.
    rows: usize,
    slots: usize,
    definition: PageLevels,
    repetition: PageLevels,
    values: Vec<u8>,
    flags: Vec<u8>,
    indices: Vec<u32>,
    // The whole chunk.
    all_rows: usize,
    all_slots: usize,
    all_values: usize,
    bounds: ValueBounds,
}

impl ColumnChunkWriter {
    pub(crate) fn try_new(
        descriptor: ColumnDescPtr,
        properties: &WriterProperties,
    ) -> Result<Self> {
        let width = match descriptor.physical_type() {
            Type::BYTE_ARRAY | Type::BOOLEAN => 0,
            Type::INT32 => 4,
            Type::INT64 => 8,
            Type::FIXED_LEN_BYTE_ARRAY => usize::try_from(descriptor.type_length())?,
            other => {
                let column = descriptor.name().to_owned();
                return Err(EncodeError::UnsupportedType {
                    column,
                    data_type: other.to_string(),
                });
            }
        };
        let counted = matches!(
            descriptor.physical_type(),
            Type::BYTE_ARRAY | Type::INT32 | Type::INT64 | Type::FIXED_LEN_BYTE_ARRAY
        );
        let repeats = counted && properties.dictionary_enabled(descriptor.path());
        Ok(Self {
            width,
            statistics: properties.statistics_enabled(descriptor.path()) != EnabledStatistics::None,
            dictionary: repeats.then(ChunkDictionary::new),
            repeats,
            on_trial: repeats,
            descriptor,
            pending: Vec::new(),
            pending_bytes: 0,
            rows: 0,
            slots: 0,
            definition: PageLevels::default(),
            repetition: PageLevels::default(),
            values: Vec::new(),
            flags: Vec::new(),
            indices: Vec::new(),
            all_rows: 0,
            all_slots: 0,
            all_values: 0,
            bounds: ValueBounds::default(),
        })
    }

    /// Adds the values in the slots of so many rows.
    pub(crate) fn write(
        &mut self,
        slots: &NestingLevels,
        array: &ArrayRef,
        rows: usize,
    ) -> Result<()> {
        if i16::from(slots.level) != self.descriptor.max_def_level() {
            return Err(EncodeError::NestingMismatch {
                column: self.descriptor.name().to_owned(),
            });
        }
        match &slots.definition {
            None => self.definition.repeat(slots.level, slots.count),
            Some(levels) => self.definition.add(levels),
        }
        if let Some(levels) = &slots.repetition {
            self.repetition.add(levels);
        }
        let values = match &slots.selection {
            Selection::Range(_, count) => *count,
            Selection::Each(picks) => picks.len(),
        };
        match &slots.selection {
            Selection::Range(from, count) => self.take(array, *from..*from + *count)?,
            Selection::Each(picks) => self.take(array, picks.iter().map(|pick| *pick as usize))?,
        }
        self.rows += rows;
        self.slots += slots.count;
        self.all_values += values;
        if self.on_trial && self.all_values >= TRIAL {
            self.on_trial = false;
            let different = self.dictionary.as_ref().map_or(0, ChunkDictionary::len);
            if different * 3 > self.all_values * 2 {
                self.give_up_dictionary();
            }
        }
        if self.rows >= PAGE_ROWS
            || self.values.len() + self.flags.len() / 8 + self.indices.len() >= PAGE_BYTES
        {
            self.end_page()?;
        }
        let full = self
            .dictionary
            .as_ref()
            .is_some_and(|dictionary| dictionary.bytes() >= DICTIONARY_BYTES);
        if self.repeats && full {
            self.end_page()?;
            self.repeats = false;
        }
        Ok(())
    }

    pub(crate) fn descriptor(&self) -> &ColumnDescPtr {
        &self.descriptor
    }

    /// True if a chunk of the same type is encoded alike as long as its values are the same.
    pub(crate) fn has_same_encoding(&self, other: &Self) -> bool {
        self.statistics == other.statistics
    }

    /// Ends being a duplicate: continues as a chunk of its own, with the values that the other has so far.
    pub(crate) fn diverge_from(&mut self, other: &Self) {
        *self = Self {
            descriptor: self.descriptor.clone(),
            ..other.clone()
        };
    }

    /// Appends the values at these places of an array, none of which is null.
    fn take(
        &mut self,
        array: &ArrayRef,
        places: impl ExactSizeIterator<Item = usize>,
    ) -> Result<()> {
        match array.data_type() {
            DataType::Utf8 => {
                let texts = array.as_string::<i32>();
                self.make_room(texts.offsets());
                self.texts(places.map(|place| texts.value(place).as_bytes()));
            }
            DataType::Binary => {
                let texts = array.as_binary::<i32>();
                self.make_room(texts.offsets());
                self.texts(places.map(|place| texts.value(place)));
            }
            DataType::Boolean => {
                let flags = array.as_boolean();
                let before = self.flags.len();
                self.flags
                    .extend(places.map(|place| u8::from(flags.value(place))));
                let seen = &self.flags[before..];
                if let (Some(min), Some(max)) = (seen.iter().min(), seen.iter().max()) {
                    self.bounds.widen((*min).into(), (*max).into());
                }
            }
            DataType::Date32 => {
                let numbers = array.as_primitive::<Date32Type>().values();
                self.numbers(places.map(|place| i64::from(numbers[place])));
            }
            DataType::Int64 => {
                let numbers = array.as_primitive::<Int64Type>().values();
                self.numbers(places.map(|place| numbers[place]));
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                let numbers = array.as_primitive::<TimestampMicrosecondType>().values();
                self.numbers(places.map(|place| numbers[place]));
            }
            DataType::Decimal128(precision, _) => {
                let decimals = array.as_primitive::<Decimal128Type>().values();
                if self.descriptor.physical_type() == Type::FIXED_LEN_BYTE_ARRAY {
                    let repeats = self.repeats;
                    for place in places {
                        let decimal = decimals[place];
                        let bytes = decimal.to_be_bytes();
                        let bytes = &bytes[size_of::<i128>() - self.width..];
                        match &mut self.dictionary {
                            Some(dictionary) if repeats => {
                                self.indices.push(dictionary.text(bytes));
                            }
                            _ => self.values.extend_from_slice(bytes),
                        }
                        self.bounds.widen(decimal, decimal);
                    }
                } else {
                    // A value that does not fit becomes more than the precision allows.
                    self.numbers(
                        places.map(|place| i64::try_from(decimals[place]).unwrap_or(i64::MAX)),
                    );
                }
                // Bytes that have no place are cut off above: an amount must not become another one unsaid.
                let limit = 10_i128.pow(u32::from(*precision));
                if self
                    .bounds
                    .0
                    .is_some_and(|(min, max)| min <= -limit || max >= limit)
                {
                    return Err(EncodeError::TooManyDigits {
                        column: self.descriptor.name().to_owned(),
                    });
                }
            }
            other => {
                let column = self.descriptor.name().to_owned();
                return Err(EncodeError::UnsupportedType {
                    column,
                    data_type: other.to_string(),
                });
            }
        }
        Ok(())
    }

    /// Makes room for texts that are written plainly: a buffer that grows copies what is in it.
    fn make_room(&mut self, offsets: &OffsetBuffer<i32>) {
        if let (false, [first, .., last]) = (self.repeats, &offsets[..]) {
            let bytes = usize::try_from(last - first).unwrap_or(0);
            // Of the elements of a list, only those of this slice come.
            self.values
                .reserve(bytes.min(PAGE_BYTES) + offsets.len() * size_of::<u32>());
        }
    }

    fn texts<'a>(&mut self, texts: impl ExactSizeIterator<Item = &'a [u8]>) {
        if self.repeats
            && let Some(dictionary) = &mut self.dictionary
        {
            return self.indices.extend(texts.map(|text| dictionary.text(text)));
        }
        for text in texts {
            self.values
                .extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
            self.values.extend_from_slice(text);
        }
    }

    fn numbers(&mut self, numbers: impl ExactSizeIterator<Item = i64>) {
        let (mut min, mut max) = (i64::MAX, i64::MIN);
        let seen = numbers.inspect(|number| {
            min = min.min(*number);
            max = max.max(*number);
        });
        if self.repeats
            && let Some(dictionary) = &mut self.dictionary
        {
            self.indices
                .extend(seen.map(|number| dictionary.number(number)));
        } else if self.width == size_of::<i64>() {
            self.values.reserve(seen.len() * size_of::<i64>());
            seen.for_each(|number| self.values.extend_from_slice(&number.to_le_bytes()));
        } else {
            seen.for_each(|number| {
                self.values
                    .extend_from_slice(&number.to_le_bytes()[..self.width])
            });
        }
        if min <= max {
            self.bounds.widen(min.into(), max.into());
        }
    }

    /// The values hardly repeat: what went through the dictionary is written plainly after all.
    fn give_up_dictionary(&mut self) {
        self.repeats = false;
        // No page has ended yet.
        if let Some(dictionary) = self.dictionary.take() {
            for index in self.indices.drain(..) {
                dictionary.write(index, self.width, &mut self.values);
            }
        }
    }

    fn end_page(&mut self) -> Result<()> {
        if self.slots == 0 {
            return Ok(());
        }
        let through_dictionary = self.repeats && self.dictionary.is_some();
        // A page that went through the dictionary needs it.
        self.on_trial = false;
        let page = SCRATCH.with_borrow_mut(|scratch| {
            let plain = &mut scratch.plain;
            plain.clear();
            self.repetition.end(self.descriptor.max_rep_level(), plain);
            self.definition.end(self.descriptor.max_def_level(), plain);
            if through_dictionary {
                let largest = self
                    .dictionary
                    .as_ref()
                    .map_or(0, ChunkDictionary::len)
                    .saturating_sub(1);
                // One bit at least: not every reader takes none.
                let width = rle::width_of(u32::try_from(largest).unwrap_or(u32::MAX)).max(1);
                plain.push(width);
                rle::write(&self.indices, width, plain);
            } else if self.descriptor.physical_type() == Type::BOOLEAN {
                let byte = |flags: &[u8]| {
                    flags
                        .iter()
                        .enumerate()
                        .fold(0, |byte, (bit, flag)| byte | flag << bit)
                };
                plain.extend(self.flags.chunks(8).map(byte));
            } else {
                plain.extend_from_slice(&self.values);
            }
            let page = Page::DataPage {
                buf: scratch.compressed()?,
                num_values: u32::try_from(self.slots)?,
                encoding: if through_dictionary {
                    Encoding::RLE_DICTIONARY
                } else {
                    Encoding::PLAIN
                },
                def_level_encoding: Encoding::RLE,
                rep_level_encoding: Encoding::RLE,
                statistics: None,
            };
            Ok::<_, EncodeError>(PendingPage {
                page,
                plain_bytes: scratch.plain.len(),
                rows: self.rows,
            })
        })?;
        self.pending_bytes += page.page.buffer().len();
        self.pending.push(page);
        self.all_rows += self.rows;
        self.all_slots += self.slots;
        (self.rows, self.slots) = (0, 0);
        self.values.clear();
        self.flags.clear();
        self.indices.clear();
        Ok(())
    }

    /// Bytes held in memory, roughly.
    pub(crate) fn memory_size(&self) -> usize {
        let dictionary = self.dictionary.as_ref().map_or(0, ChunkDictionary::bytes);
        self.pending_bytes
            + dictionary
            + self.values.len()
            + self.flags.len() / 8
            + self.indices.len()
    }

    /// Ends the chunk.
    pub(crate) fn close(mut self) -> Result<EncodedChunk> {
        self.end_page()?;
        let statistics = self
            .statistics
            .then(|| self.footer_statistics())
            .transpose()?
            .flatten();
        let mut sink = TrackedWrite::new(Vec::with_capacity(
            self.memory_size() + (self.pending.len() + 1) * 64,
        ));
        let mut writer = SerializedPageWriter::new(&mut sink);
        let (mut plain_bytes, mut bytes) = (0, 0);
        let mut pages: Vec<PageEncodingStats> = Vec::new();
        let mut dictionary_at = None;
        if let Some(dictionary) = self.dictionary.take()
            && self
                .pending
                .iter()
                .any(|pending| pending.page.encoding() == Encoding::RLE_DICTIONARY)
        {
            let num_values = u32::try_from(dictionary.len())?;
            let plain = dictionary.into_plain(self.width);
            let page = SCRATCH.with_borrow_mut(|scratch| {
                scratch.plain.clear();
                scratch.plain.extend_from_slice(&plain);
                let buf = scratch.compressed()?;
                let page = Page::DictionaryPage {
                    buf,
                    num_values,
                    encoding: Encoding::PLAIN,
                    is_sorted: false,
                };
                Ok::<_, EncodeError>(CompressedPage::new(page, plain.len()))
            })?;
            let spec = writer.write_page(page)?;
            (plain_bytes, bytes) = (spec.uncompressed_size, spec.compressed_size);
            pages.push(PageEncodingStats {
                page_type: PageType::DICTIONARY_PAGE,
                encoding: Encoding::PLAIN,
                count: 1,
            });
            dictionary_at = Some(0);
        }
        let data_at = bytes;
        let mut offsets = OffsetIndexBuilder::new();
        for PendingPage {
            page,
            plain_bytes: plain,
            rows,
        } in self.pending
        {
            let encoding = page.encoding();
            match pages.last_mut() {
                Some(last)
                    if last.page_type == PageType::DATA_PAGE && last.encoding == encoding =>
                {
                    last.count += 1
                }
                _ => pages.push(PageEncodingStats {
                    page_type: PageType::DATA_PAGE,
                    encoding,
                    count: 1,
                }),
            }
            let page = CompressedPage::new(page, plain);
            let spec = writer.write_page(page)?;
            plain_bytes += spec.uncompressed_size;
            bytes += spec.compressed_size;
            offsets.append_row_count(i64::try_from(rows)?);
            offsets.append_offset_and_size(
                i64::try_from(spec.offset)?,
                i32::try_from(spec.compressed_size)?,
            );
        }
        writer.close()?;
        let signed = |size: usize| i64::try_from(size);
        let mut encodings: Vec<Encoding> = pages
            .iter()
            .map(|page| page.encoding)
            .chain([Encoding::RLE])
            .collect();
        encodings.sort_unstable();
        encodings.dedup();
        let mut metadata = ColumnChunkMetaData::builder(self.descriptor.clone())
            .set_compression(compression())
            .set_encodings(encodings)
            .set_page_encoding_stats(pages)
            .set_total_compressed_size(signed(bytes)?)
            .set_total_uncompressed_size(signed(plain_bytes)?)
            .set_num_values(signed(self.all_slots)?)
            .set_data_page_offset(signed(data_at)?)
            .set_dictionary_page_offset(dictionary_at);
        if let Some(statistics) = statistics {
            metadata = metadata.set_statistics(statistics);
        }
        let close = ColumnCloseResult {
            bytes_written: bytes as u64,
            rows_written: self.all_rows as u64,
            metadata: metadata.build()?,
            bloom_filter: None,
            column_index: None,
            offset_index: Some(offsets.build()),
        };
        let bytes = Bytes::from(sink.into_inner()?);
        Ok(EncodedChunk(ChunkPages::Contiguous { bytes, close }))
    }

    /// ValueBounds and nulls, as the footer has them.
    fn footer_statistics(&self) -> Result<Option<Statistics>> {
        let nulls = Some((self.all_slots - self.all_values) as u64);
        let (min, max) = self.bounds.0.unzip();
        let narrow = |value: Option<i128>| value.map(i64::try_from).transpose();
        let narrower = |value: Option<i128>| value.map(i32::try_from).transpose();
        Ok(match self.descriptor.physical_type() {
            Type::BOOLEAN => Some(Statistics::boolean(
                min.map(|m| m != 0),
                max.map(|m| m != 0),
                None,
                nulls,
                false,
            )),
            Type::INT32 => Some(Statistics::int32(
                narrower(min)?,
                narrower(max)?,
                None,
                nulls,
                false,
            )),
            Type::INT64 => Some(Statistics::int64(
                narrow(min)?,
                narrow(max)?,
                None,
                nulls,
                false,
            )),
            Type::FIXED_LEN_BYTE_ARRAY => {
                let bytes = |value: i128| {
                    let bytes = value.to_be_bytes()[size_of::<i128>() - self.width..].to_vec();
                    FixedLenByteArray::from(ByteArray::from(bytes))
                };
                Some(Statistics::fixed_len_byte_array(
                    min.map(bytes),
                    max.map(bytes),
                    None,
                    nulls,
                    false,
                ))
            }
            Type::BYTE_ARRAY => self.text_bounds().map(|(min, max)| {
                let bound = |text: &[u8]| Some(ByteArray::from(text.to_vec()));
                Statistics::byte_array(bound(min), bound(max), None, nulls, false)
            }),
            _ => None,
        })
    }

    /// Bounds of texts that all stand in the dictionary, where these are short.
    fn text_bounds(&self) -> Option<(&[u8], &[u8])> {
        let dictionary = self.dictionary.as_ref().filter(|_| self.repeats)?;
        dictionary
            .text_bounds()
            .filter(|(min, max)| min.len().max(max.len()) <= BOUND_BYTES)
    }
}
