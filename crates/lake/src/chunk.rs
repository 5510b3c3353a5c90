//! Encodes the column chunks of a row group: Parquet pages of zstd, from Arrow arrays.
//!
//! Invariant: a reader gets back exactly the values and nulls that were written, in their order. A chunk has a dictionary as long as its
//! values repeat; what a chunk holds is its compressed pages and one that is not full.
//!
//! Parquet's own encoder looks at every value several times over and makes a compressor for each column. This one knows only the types
//! that contracts have, takes levels from Arrow's bitmaps, and leaves files, footers and schemas to the library.

mod dictionary;
mod hybrid;
mod slots;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, FieldRef, Int64Type, TimeUnit, TimestampMicrosecondType,
};
use bytes::Bytes;
use dictionary::Dictionary;
use parquet::basic::{Compression, Encoding, PageType, Type, ZstdLevel};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::{ByteArray, FixedLenByteArray};
use parquet::file::metadata::{ColumnChunkMetaData, OffsetIndexBuilder, PageEncodingStats};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::statistics::Statistics;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;
use slots::{Picks, Slots};
use std::cell::RefCell;
use std::sync::Arc;
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};
use zstd::zstd_safe::{CParameter, ParamSwitch};

/// zstd's level. Ids and hashes are most of what is compressed, and looking for repetitions in them is in vain: a faster level than its
/// first, with letters packed as there, makes files of the same size in two thirds of the time.
const LEVEL: i32 = -3;
/// Shorter repetitions than this are not looked for.
const SHORTEST: u32 = 7;
/// Rows that are encoded at once; a page has at least as many.
const SLICE: usize = 2_048;
/// A page ends with the slice in which it has so many rows or bytes.
const PAGE_ROWS: usize = 20_480;
const PAGE_BYTES: usize = 64 << 10;
/// A column's dictionary ends with so many bytes: each of a hundred columns may have one.
const DICTIONARY_BYTES: usize = 96 << 10;
/// After so many values a dictionary has to have shown that they repeat.
const TRIAL: usize = 1_024;

const REFUSED: &str = "rows could not be encoded";

/// The chunks of one column of the table, one for each of its leaves.
#[derive(Clone)]
pub(crate) struct Column {
    field: FieldRef,
    chunks: Vec<Chunk>,
}

/// A chunk as it stands in a file, with what the footer says of it.
#[derive(Clone)]
pub(crate) struct Encoded {
    pub(crate) bytes: Bytes,
    pub(crate) close: ColumnCloseResult,
}

impl Encoded {
    /// The same values in another column.
    fn of(self, leaf: &ColumnDescPtr) -> Result<Self> {
        let own = &self.close.metadata;
        let mut metadata = ColumnChunkMetaData::builder(leaf.clone())
            .set_compression(compression())
            .set_encodings_mask(*own.encodings_mask())
            .set_page_encoding_stats(own.page_encoding_stats().cloned().unwrap_or_default())
            .set_total_compressed_size(own.compressed_size())
            .set_total_uncompressed_size(own.uncompressed_size())
            .set_num_values(own.num_values())
            .set_data_page_offset(own.data_page_offset())
            .set_dictionary_page_offset(own.dictionary_page_offset());
        if let Some(statistics) = own.statistics() {
            metadata = metadata.set_statistics(statistics.clone());
        }
        let metadata = metadata.build().or_error(ErrorKind::Internal, REFUSED)?;
        Ok(Self { close: ColumnCloseResult { metadata, ..self.close }, ..self })
    }
}

impl Column {
    /// A column whose leaves Parquet describes so.
    pub(crate) fn new(field: FieldRef, leaves: &[ColumnDescPtr], properties: &WriterProperties) -> Result<Self> {
        let chunks = leaves.iter().map(|leaf| Chunk::new(leaf.clone(), properties)).collect::<Result<_>>()?;
        Ok(Self { field, chunks })
    }

    /// Adds rows.
    pub(crate) fn write(&mut self, array: &ArrayRef) -> Result<()> {
        for from in (0..array.len()).step_by(SLICE) {
            let slice = array.slice(from, SLICE.min(array.len() - from));
            let mut chunks = self.chunks.iter_mut();
            write(&self.field, &slice, &Slots::rows(slice.len()), slice.len(), &mut chunks)?;
            if chunks.next().is_some() {
                return Err(Error::internal("a column has fewer leaves than its table").at("column", self.field.name()));
            }
        }
        Ok(())
    }

    /// Whether columns are encoded alike if their values are the same.
    fn is_like(&self, other: &Self) -> bool {
        match (self.chunks.as_slice(), other.chunks.as_slice()) {
            ([one], [another]) => {
                self.field.data_type() == other.field.data_type()
                    && self.field.is_nullable() == other.field.is_nullable()
                    && one.statistics == another.statistics
            }
            _ => false,
        }
    }

    /// From here on a column of its own, with the values that another has so far.
    fn take_over(&mut self, other: &Self) {
        for (own, chunk) in self.chunks.iter_mut().zip(&other.chunks) {
            *own = Chunk { leaf: own.leaf.clone(), ..chunk.clone() };
        }
    }

    /// Bytes that are held, roughly.
    pub(crate) fn size(&self) -> usize {
        self.chunks.iter().map(Chunk::size).sum()
    }

    /// Ends the chunks.
    pub(crate) fn close(self) -> Result<Vec<Encoded>> {
        self.chunks.into_iter().map(Chunk::close).collect()
    }
}

/// The columns of a row group.
///
/// Columns often hold the same values: a record's id and its key, the time of a sale and of its record. As long as they do, one of them
/// is encoded for all.
pub(crate) struct Columns {
    columns: Vec<Column>,
    /// The earlier column that has held the same so far, of each.
    twins: Vec<Option<usize>>,
    rows: usize,
}

impl Columns {
    pub(crate) fn new(columns: Vec<Column>) -> Self {
        Self { twins: vec![None; columns.len()], columns, rows: 0 }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Adds rows, which have an array for each column.
    pub(crate) fn write(&mut self, arrays: &[ArrayRef]) -> Result<()> {
        if self.rows == 0 {
            self.twins = twins(&self.columns, &[arrays]);
        }
        for (at, array) in arrays.iter().enumerate() {
            if let Some(twin) = self.twins[at]
                && !same(array, &arrays[twin])
            {
                self.twins[at] = None;
                let (before, rest) = self.columns.split_at_mut(at);
                rest[0].take_over(&before[twin]);
            }
        }
        // Only now, so that what was taken over ends with the rows before.
        for ((column, array), twin) in self.columns.iter_mut().zip(arrays).zip(&self.twins) {
            if twin.is_none() {
                column.write(array)?;
            }
        }
        self.rows += arrays.first().map_or(0, |array| array.len());
        Ok(())
    }

    /// Bytes that are held, roughly.
    pub(crate) fn size(&self) -> usize {
        self.columns.iter().map(Column::size).sum()
    }

    /// Ends the chunks of all columns, in their order.
    pub(crate) fn close(self) -> Result<Vec<Encoded>> {
        let mut chunks = Vec::with_capacity(self.columns.len());
        for (column, twin) in self.columns.into_iter().zip(&self.twins) {
            chunks.push(if twin.is_none() { Ok(column.close()?) } else { Err(column) });
        }
        with_twins(chunks, &self.twins)
    }
}

/// Puts the chunks of columns together with those of their twins, which were not written.
pub(crate) fn with_twins(
    chunks: Vec<std::result::Result<Vec<Encoded>, Column>>,
    twins: &[Option<usize>],
) -> Result<Vec<Encoded>> {
    let mut done: Vec<Vec<Encoded>> = Vec::with_capacity(chunks.len());
    for (own, twin) in chunks.into_iter().zip(twins) {
        done.push(match own {
            Ok(chunks) => chunks,
            Err(column) => {
                let twin = twin.and_then(|twin| done.get(twin)).ok_or_else(|| Error::internal("a column has no chunk"))?;
                let leaves = column.chunks.iter().map(|chunk| &chunk.leaf);
                twin.iter().zip(leaves).map(|(chunk, leaf)| chunk.clone().of(leaf)).collect::<Result<_>>()?
            }
        });
    }
    Ok(done.into_iter().flatten().collect())
}

/// For each column the first before it that holds the same in all batches.
pub(crate) fn twins(columns: &[Column], batches: &[&[ArrayRef]]) -> Vec<Option<usize>> {
    let mut twins: Vec<Option<usize>> = Vec::with_capacity(columns.len());
    for (at, column) in columns.iter().enumerate() {
        let is_twin = |before: &usize| {
            twins[*before].is_none()
                && columns[*before].is_like(column)
                && batches.iter().all(|arrays| same(&arrays[at], &arrays[*before]))
        };
        let twin = (0..at).find(is_twin);
        twins.push(twin);
    }
    twins
}

/// Whether arrays of a type hold the same.
fn same(a: &ArrayRef, b: &ArrayRef) -> bool {
    Arc::ptr_eq(a, b) || (a.null_count() == b.null_count() && a == b)
}

/// Whether arrays of the type can be encoded.
pub(crate) fn is_known(data_type: &DataType) -> bool {
    match data_type {
        DataType::Struct(fields) => fields.iter().all(|field| is_known(field.data_type())),
        DataType::List(element) => is_known(element.data_type()),
        DataType::Utf8
        | DataType::Binary
        | DataType::Boolean
        | DataType::Int64
        | DataType::Date32
        | DataType::Decimal128(_, _)
        | DataType::Timestamp(TimeUnit::Microsecond, _) => true,
        _ => false,
    }
}

/// Hands the leaves of an array to their chunks.
fn write<'a>(
    field: &Field,
    array: &ArrayRef,
    slots: &Slots,
    rows: usize,
    chunks: &mut impl Iterator<Item = &'a mut Chunk>,
) -> Result<()> {
    match field.data_type() {
        DataType::Struct(fields) => {
            let array = array.as_struct();
            let inside = slots.present(field.is_nullable(), array.nulls());
            for (field, array) in fields.iter().zip(array.columns()) {
                write(field, array, &inside, rows, chunks)?;
            }
            Ok(())
        }
        DataType::List(element) => {
            let array = array.as_list::<i32>();
            let inside = slots.elements(field.is_nullable(), array.nulls(), array.offsets());
            write(element, array.values(), &inside, rows, chunks)
        }
        _ => {
            let missing = || Error::internal("a column has other leaves than its table").at("column", field.name());
            let chunk = chunks.next().ok_or_else(missing)?;
            chunk.write(&slots.present(field.is_nullable(), array.nulls()), array, rows)
        }
    }
}

/// Levels of a page; as long as they are all the same they are only counted.
#[derive(Clone, Default)]
struct Levels {
    same: u8,
    count: usize,
    each: Vec<u8>,
}

impl Levels {
    fn repeat(&mut self, level: u8, times: usize) {
        if self.count == 0 {
            self.same = level;
        }
        if self.each.is_empty() && self.same == level {
            self.count += times;
        } else {
            self.spell_out();
            self.each.resize(self.each.len() + times, level);
        }
    }

    fn add(&mut self, levels: &[u8]) {
        self.spell_out();
        self.each.extend_from_slice(levels);
    }

    fn spell_out(&mut self) {
        if self.each.is_empty() {
            self.each.resize(self.count, self.same);
        }
    }

    /// Appends them as a page of the format's first version has them, and begins anew.
    fn end(&mut self, largest: i16, out: &mut Vec<u8>) {
        if largest > 0 {
            let width = hybrid::width_of(u32::from(largest.unsigned_abs()));
            let begin = out.len();
            out.extend_from_slice(&[0; 4]);
            if self.each.is_empty() {
                hybrid::repeat(u32::from(self.same), self.count, width, out);
            } else {
                hybrid::write(&self.each, width, out);
            }
            let length = u32::try_from(out.len() - begin - 4).unwrap_or(u32::MAX);
            out[begin..begin + 4].copy_from_slice(&length.to_le_bytes());
        }
        (self.same, self.count) = (0, 0);
        self.each.clear();
    }
}

/// The smallest and the largest value so far.
#[derive(Clone, Copy, Default)]
struct Bounds(Option<(i128, i128)>);

impl Bounds {
    fn widen(&mut self, min: i128, max: i128) {
        self.0 = Some(self.0.map_or((min, max), |(a, b)| (a.min(min), b.max(max))));
    }
}

/// A page that waits for the end of its chunk.
#[derive(Clone)]
struct Ready {
    page: Page,
    plain_bytes: usize,
    rows: usize,
}

/// One leaf's values of a row group.
#[derive(Clone)]
struct Chunk {
    leaf: ColumnDescPtr,
    /// Bytes of a value that always has as many; 0 for texts and flags.
    width: usize,
    statistics: bool,
    dictionary: Option<Dictionary>,
    /// Whether values still go through the dictionary.
    repeats: bool,
    on_trial: bool,
    ready: Vec<Ready>,
    ready_bytes: usize,
    // The page that is not full.
    rows: usize,
    slots: usize,
    definition: Levels,
    repetition: Levels,
    values: Vec<u8>,
    flags: Vec<u8>,
    indices: Vec<u32>,
    // The whole chunk.
    all_rows: usize,
    all_slots: usize,
    all_values: usize,
    bounds: Bounds,
}

impl Chunk {
    fn new(leaf: ColumnDescPtr, properties: &WriterProperties) -> Result<Self> {
        let width = match leaf.physical_type() {
            Type::BYTE_ARRAY | Type::BOOLEAN => 0,
            Type::INT32 => 4,
            Type::INT64 => 8,
            Type::FIXED_LEN_BYTE_ARRAY => usize::try_from(leaf.type_length()).or_error(ErrorKind::Internal, REFUSED)?,
            _ => return Err(Error::internal("a column has a type that is not written").at("column", leaf.name())),
        };
        let counted = matches!(leaf.physical_type(), Type::BYTE_ARRAY | Type::INT32 | Type::INT64);
        let repeats = counted && properties.dictionary_enabled(leaf.path());
        Ok(Self {
            width,
            statistics: properties.statistics_enabled(leaf.path()) != EnabledStatistics::None,
            dictionary: repeats.then(Dictionary::new),
            repeats,
            on_trial: repeats,
            leaf,
            ready: Vec::new(),
            ready_bytes: 0,
            rows: 0,
            slots: 0,
            definition: Levels::default(),
            repetition: Levels::default(),
            values: Vec::new(),
            flags: Vec::new(),
            indices: Vec::new(),
            all_rows: 0,
            all_slots: 0,
            all_values: 0,
            bounds: Bounds::default(),
        })
    }

    fn write(&mut self, slots: &Slots, array: &ArrayRef, rows: usize) -> Result<()> {
        if i16::from(slots.level) != self.leaf.max_def_level() {
            return Err(Error::internal("a column is nested otherwise than its table").at("column", self.leaf.name()));
        }
        match &slots.definition {
            None => self.definition.repeat(slots.level, slots.count),
            Some(levels) => self.definition.add(levels),
        }
        if let Some(levels) = &slots.repetition {
            self.repetition.add(levels);
        }
        let values = match &slots.picks {
            Picks::Range(_, count) => *count,
            Picks::Each(picks) => picks.len(),
        };
        match &slots.picks {
            Picks::Range(from, count) => self.take(array, *from..*from + *count)?,
            Picks::Each(picks) => self.take(array, picks.iter().map(|pick| *pick as usize))?,
        }
        self.rows += rows;
        self.slots += slots.count;
        self.all_values += values;
        if self.on_trial && self.all_values >= TRIAL {
            self.on_trial = false;
            let different = self.dictionary.as_ref().map_or(0, Dictionary::len);
            if different * 3 > self.all_values * 2 {
                self.give_up_dictionary();
            }
        }
        if self.rows >= PAGE_ROWS || self.values.len() + self.flags.len() / 8 + self.indices.len() >= PAGE_BYTES {
            self.end_page()?;
        }
        let full = self.dictionary.as_ref().is_some_and(|dictionary| dictionary.bytes() >= DICTIONARY_BYTES);
        if self.repeats && full {
            self.end_page()?;
            self.repeats = false;
        }
        Ok(())
    }

    /// Appends the values at these places of an array, none of which is null.
    fn take(&mut self, array: &ArrayRef, places: impl ExactSizeIterator<Item = usize>) -> Result<()> {
        match array.data_type() {
            DataType::Utf8 => {
                let texts = array.as_string::<i32>();
                self.expect(texts.offsets());
                self.texts(places.map(|place| texts.value(place).as_bytes()));
            }
            DataType::Binary => {
                let texts = array.as_binary::<i32>();
                self.expect(texts.offsets());
                self.texts(places.map(|place| texts.value(place)));
            }
            DataType::Boolean => {
                let flags = array.as_boolean();
                let before = self.flags.len();
                self.flags.extend(places.map(|place| u8::from(flags.value(place))));
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
            DataType::Decimal128(_, _) => {
                let decimals = array.as_primitive::<Decimal128Type>().values();
                if self.width > size_of::<i64>() || self.leaf.physical_type() == Type::FIXED_LEN_BYTE_ARRAY {
                    for place in places {
                        let decimal = decimals[place];
                        self.values.extend_from_slice(&decimal.to_be_bytes()[size_of::<i128>() - self.width..]);
                        self.bounds.widen(decimal, decimal);
                    }
                } else {
                    let mut fit = true;
                    self.numbers(places.map(|place| {
                        i64::try_from(decimals[place]).unwrap_or_else(|_| {
                            fit = false;
                            0
                        })
                    }));
                    if !fit {
                        return Err(Error::internal("a decimal is too large for its column").at("column", self.leaf.name()));
                    }
                }
            }
            other => {
                return Err(Error::internal("a column has a type that is not written")
                    .at("column", self.leaf.name())
                    .at("type", other.to_string()));
            }
        }
        Ok(())
    }

    /// Makes room for texts that are written plainly: a buffer that grows copies what is in it.
    fn expect(&mut self, offsets: &OffsetBuffer<i32>) {
        if let (false, [first, .., last]) = (self.repeats, &offsets[..]) {
            let bytes = usize::try_from(last - first).unwrap_or(0);
            // Of the elements of a list, only those of this slice come.
            self.values.reserve(bytes.min(PAGE_BYTES) + offsets.len() * size_of::<u32>());
        }
    }

    fn texts<'a>(&mut self, texts: impl ExactSizeIterator<Item = &'a [u8]>) {
        if self.repeats
            && let Some(dictionary) = &mut self.dictionary
        {
            return self.indices.extend(texts.map(|text| dictionary.text(text)));
        }
        for text in texts {
            self.values.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
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
            self.indices.extend(seen.map(|number| dictionary.number(number)));
        } else if self.width == size_of::<i64>() {
            self.values.reserve(seen.len() * size_of::<i64>());
            seen.for_each(|number| self.values.extend_from_slice(&number.to_le_bytes()));
        } else {
            seen.for_each(|number| self.values.extend_from_slice(&number.to_le_bytes()[..self.width]));
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
            let Scratch { plain, .. } = scratch;
            plain.clear();
            self.repetition.end(self.leaf.max_rep_level(), plain);
            self.definition.end(self.leaf.max_def_level(), plain);
            if through_dictionary {
                let largest = self.dictionary.as_ref().map_or(0, Dictionary::len).saturating_sub(1);
                // One bit at least: not every reader takes none.
                let width = hybrid::width_of(u32::try_from(largest).unwrap_or(u32::MAX)).max(1);
                plain.push(width);
                hybrid::write(&self.indices, width, plain);
            } else if self.leaf.physical_type() == Type::BOOLEAN {
                let byte = |flags: &[u8]| flags.iter().enumerate().fold(0, |byte, (bit, flag)| byte | flag << bit);
                plain.extend(self.flags.chunks(8).map(byte));
            } else {
                plain.extend_from_slice(&self.values);
            }
            let page = Page::DataPage {
                buf: scratch.compressed()?,
                num_values: u32::try_from(self.slots).or_error(ErrorKind::Internal, REFUSED)?,
                encoding: if through_dictionary { Encoding::RLE_DICTIONARY } else { Encoding::PLAIN },
                def_level_encoding: Encoding::RLE,
                rep_level_encoding: Encoding::RLE,
                statistics: None,
            };
            Ok::<_, Error>(Ready { page, plain_bytes: scratch.plain.len(), rows: self.rows })
        })?;
        self.ready_bytes += page.page.buffer().len();
        self.ready.push(page);
        self.all_rows += self.rows;
        self.all_slots += self.slots;
        (self.rows, self.slots) = (0, 0);
        self.values.clear();
        self.flags.clear();
        self.indices.clear();
        Ok(())
    }

    fn size(&self) -> usize {
        let dictionary = self.dictionary.as_ref().map_or(0, Dictionary::bytes);
        self.ready_bytes + dictionary + self.values.len() + self.flags.len() / 8 + self.indices.len()
    }

    fn close(mut self) -> Result<Encoded> {
        self.end_page()?;
        let statistics = self.statistics.then(|| self.footer_statistics()).transpose()?.flatten();
        let mut sink = TrackedWrite::new(Vec::with_capacity(self.size() + (self.ready.len() + 1) * 64));
        let mut writer = SerializedPageWriter::new(&mut sink);
        let (mut plain_bytes, mut bytes) = (0, 0);
        let mut pages: Vec<PageEncodingStats> = Vec::new();
        let mut dictionary_at = None;
        if let Some(dictionary) = self.dictionary.take()
            && self.ready.iter().any(|ready| ready.page.encoding() == Encoding::RLE_DICTIONARY)
        {
            let num_values = u32::try_from(dictionary.len()).or_error(ErrorKind::Internal, REFUSED)?;
            let plain = dictionary.into_plain(self.width);
            let page = SCRATCH.with_borrow_mut(|scratch| {
                scratch.plain.clear();
                scratch.plain.extend_from_slice(&plain);
                let buf = scratch.compressed()?;
                let page = Page::DictionaryPage { buf, num_values, encoding: Encoding::PLAIN, is_sorted: false };
                Ok::<_, Error>(CompressedPage::new(page, plain.len()))
            })?;
            let spec = writer.write_page(page).or_error(ErrorKind::Internal, REFUSED)?;
            (plain_bytes, bytes) = (spec.uncompressed_size, spec.compressed_size);
            pages.push(PageEncodingStats { page_type: PageType::DICTIONARY_PAGE, encoding: Encoding::PLAIN, count: 1 });
            dictionary_at = Some(0);
        }
        let data_at = bytes;
        let mut offsets = OffsetIndexBuilder::new();
        for Ready { page, plain_bytes: plain, rows } in self.ready {
            let encoding = page.encoding();
            match pages.last_mut() {
                Some(last) if last.page_type == PageType::DATA_PAGE && last.encoding == encoding => last.count += 1,
                _ => pages.push(PageEncodingStats { page_type: PageType::DATA_PAGE, encoding, count: 1 }),
            }
            let page = CompressedPage::new(page, plain);
            let spec = writer.write_page(page).or_error(ErrorKind::Internal, REFUSED)?;
            plain_bytes += spec.uncompressed_size;
            bytes += spec.compressed_size;
            offsets.append_row_count(i64::try_from(rows).or_error(ErrorKind::Internal, REFUSED)?);
            offsets.append_offset_and_size(
                i64::try_from(spec.offset).or_error(ErrorKind::Internal, REFUSED)?,
                i32::try_from(spec.compressed_size).or_error(ErrorKind::Internal, REFUSED)?,
            );
        }
        writer.close().or_error(ErrorKind::Internal, REFUSED)?;
        let signed = |size: usize| i64::try_from(size).or_error(ErrorKind::Internal, REFUSED);
        let mut encodings: Vec<Encoding> = pages.iter().map(|page| page.encoding).chain([Encoding::RLE]).collect();
        encodings.sort_unstable();
        encodings.dedup();
        let mut metadata = ColumnChunkMetaData::builder(self.leaf.clone())
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
            metadata: metadata.build().or_error(ErrorKind::Internal, REFUSED)?,
            bloom_filter: None,
            column_index: None,
            offset_index: Some(offsets.build()),
        };
        let bytes = sink.into_inner().or_error(ErrorKind::Internal, REFUSED)?;
        Ok(Encoded { bytes: Bytes::from(bytes), close })
    }

    /// Bounds and nulls, as the footer has them.
    fn footer_statistics(&self) -> Result<Option<Statistics>> {
        let nulls = Some((self.all_slots - self.all_values) as u64);
        let (min, max) = self.bounds.0.unzip();
        let narrow = |value: Option<i128>| value.map(i64::try_from).transpose().or_error(ErrorKind::Internal, REFUSED);
        let narrower = |value: Option<i128>| value.map(i32::try_from).transpose().or_error(ErrorKind::Internal, REFUSED);
        Ok(match self.leaf.physical_type() {
            Type::BOOLEAN => Some(Statistics::boolean(min.map(|m| m != 0), max.map(|m| m != 0), None, nulls, false)),
            Type::INT32 => Some(Statistics::int32(narrower(min)?, narrower(max)?, None, nulls, false)),
            Type::INT64 => Some(Statistics::int64(narrow(min)?, narrow(max)?, None, nulls, false)),
            Type::FIXED_LEN_BYTE_ARRAY => {
                let bytes = |value: i128| {
                    let bytes = value.to_be_bytes()[size_of::<i128>() - self.width..].to_vec();
                    FixedLenByteArray::from(ByteArray::from(bytes))
                };
                Some(Statistics::fixed_len_byte_array(min.map(bytes), max.map(bytes), None, nulls, false))
            }
            _ => None,
        })
    }
}

/// What pages are compressed with, as the footer has it.
pub(crate) fn compression() -> Compression {
    // The footer has no level.
    Compression::ZSTD(ZstdLevel::default())
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// What a thread compresses pages with: made once, since a compressor costs more than many a page.
#[derive(Default)]
struct Scratch {
    plain: Vec<u8>,
    packed: Vec<u8>,
    compressor: Option<zstd::bulk::Compressor<'static>>,
}

impl Scratch {
    /// `plain`, compressed.
    fn compressed(&mut self) -> Result<Bytes> {
        let compressor = match &mut self.compressor {
            Some(compressor) => compressor,
            none => {
                let mut new = zstd::bulk::Compressor::new(LEVEL).or_error(ErrorKind::Internal, REFUSED)?;
                for parameter in
                    [CParameter::LiteralCompressionMode(ParamSwitch::Enable), CParameter::MinMatch(SHORTEST)]
                {
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

#[cfg(test)]
#[path = "chunk_tests.rs"]
mod tests;
