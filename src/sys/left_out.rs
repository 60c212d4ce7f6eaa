//! What the C library would bring along though the program never uses it, left out.
//!
//! A static program has all of the C library that could be reached. From an assertion that fails, a statistic of the
//! allocator or a number of an error that nobody knows, that is printf(3) with every kind of number, wide characters,
//! messages in every language and character set, and the loading of modules for those: 360 KB in a program of 880.
//!
//! [`leave_out!`](crate::leave_out) puts functions of this file in the place of the few through which the way there
//! leads. Their symbols are weak: where the C library's own are linked for another reason, those hold. So a C library
//! that is made otherwise gives a larger program, and not another one.

use std::ffi::{CStr, c_char, c_int, c_long, c_uint, c_ulong};
use std::io::Write as _;

/// The instruction that goes on in another function.
#[doc(hidden)]
#[macro_export]
#[cfg(not(target_arch = "aarch64"))]
macro_rules! jump {
    () => {
        "jmp"
    };
}

/// As above.
#[doc(hidden)]
#[macro_export]
#[cfg(target_arch = "aarch64")]
macro_rules! jump {
    () => {
        "b"
    };
}

/// Leaves out of a program (one that links no names, hosts or locales of the C library) what it never uses.
#[macro_export]
macro_rules! leave_out {
    () => {
        #[cfg(all(
            any(target_arch = "x86_64", target_arch = "aarch64"),
            target_env = "gnu",
            target_feature = "crt-static"
        ))]
        std::arch::global_asm!(
            ".macro instead name, function",
            ".pushsection .text.\\name, \"ax\", @progbits",
            ".balign 4",
            ".weak \\name",
            ".type \\name, @function",
            concat!("\\name: ", $crate::jump!(), " \\function"),
            ".popsection",
            ".endm",
            "instead __assert_fail, {assert_fail}",
            "instead __dcgettext, {untranslated}",
            "instead __ctype_init, {no_classes}",
            "instead __snprintf, {unknown_error}",
            "instead strtol, {strtol}",
            "instead strtoul, {strtoul}",
            "instead fprintf, {left_out}",
            "instead _IO_fputs, {left_out}",
            "instead fwrite, {left_out}",
            // What glibc 2.38 and later calls for the same.
            "instead __libc_assert_fail, {assert_fail}",
            "instead __isoc23_strtol, {strtol}",
            "instead __isoc23_strtoul, {strtoul}",
            "instead __fprintf_chk, {left_out}",
            "instead _dl_get_origin, {no_origin}",
            ".purgem instead",
            ".pushsection .rodata.stderr, \"a\", @progbits",
            ".balign 8",
            ".weak stderr",
            ".type stderr, @object",
            "stderr: .quad 0",
            ".popsection",
            assert_fail = sym $crate::sys::left_out::assert_fail,
            untranslated = sym $crate::sys::left_out::untranslated,
            no_classes = sym $crate::sys::left_out::no_classes,
            unknown_error = sym $crate::sys::left_out::unknown_error,
            no_origin = sym $crate::sys::left_out::no_origin,
            strtol = sym $crate::sys::left_out::strtol,
            strtoul = sym $crate::sys::left_out::strtoul,
            left_out = sym $crate::sys::left_out::left_out,
        );
    };
}

fn end(text: std::fmt::Arguments<'_>) -> ! {
    let _ = writeln!(std::io::stderr(), "{text}"); // nobody reads it
    std::process::abort()
}

/// In the place of printing to a stream of C's: the allocator's statistics, which nobody asks for.
pub extern "C" fn left_out() -> ! {
    end(format_args!("a function of the C library was called that this program has left out"))
}

/// In the place of what assert(3) calls: the same text, in no other language.
///
/// # Safety
/// The three texts are C strings, the last one may be null.
pub unsafe extern "C" fn assert_fail(
    assertion: *const c_char,
    file: *const c_char,
    line: c_uint,
    function: *const c_char,
) -> ! {
    // SAFETY: the caller answers for it.
    let text = |text: *const c_char| unsafe { CStr::from_ptr(text) }.to_string_lossy();
    let function = if function.is_null() { c"?".as_ptr() } else { function };
    end(format_args!("{}:{line}: {}: Assertion `{}' failed.", text(file), text(function), text(assertion)))
}

/// In the place of dcgettext(3): the text itself, as ever where no locale is set.
pub extern "C" fn untranslated(_domain: *const c_char, text: *const c_char, _category: c_int) -> *const c_char {
    text
}

/// In the place of finding the tables for isalpha(3) and its like, which are not there: what uses them brings the C
/// library's own function along.
pub extern "C" fn no_classes() {}

/// In the place of asking the kernel, at every start, in which folder the program lies: for `$ORIGIN` in the paths of
/// libraries that are loaded, of which there are none. The answer says that it is not known.
#[must_use]
pub extern "C" fn no_origin() -> *const c_char {
    std::ptr::without_provenance(usize::MAX)
}

/// In the place of snprintf(3), with which the C library makes the text for an error that it does not know: a text and
/// the number. It is called with a variable number of arguments, the first of which x86_64 and aarch64 pass as any others.
///
/// # Safety
/// `to` has room for `size` bytes, `format` and `text` are C strings.
pub unsafe extern "C" fn unknown_error(
    to: *mut c_char,
    size: usize,
    format: *const c_char,
    text: *const c_char,
    number: c_int,
) -> c_int {
    // SAFETY: the caller answers for it.
    if unsafe { CStr::from_ptr(format) } != c"%s%d" {
        left_out();
    }
    // SAFETY: the caller answers for it, and this format has a text first.
    let text = [unsafe { CStr::from_ptr(text) }.to_bytes(), number.to_string().as_bytes()].concat();
    let fits = text.len().min(size.saturating_sub(1));
    if size > 0 {
        // SAFETY: the text has so many bytes, and there is room for them and the end.
        unsafe {
            to.copy_from_nonoverlapping(text.as_ptr().cast(), fits);
            *to.add(fits) = 0;
        }
    }
    c_int::try_from(text.len()).unwrap_or(c_int::MAX)
}

/// In the place of strtol(3), with which the C library reads limits of the system.
///
/// # Safety
/// `text` is a C string, `end` null or a place for a pointer.
pub unsafe extern "C" fn strtol(text: *const c_char, end: *mut *const c_char, base: c_int) -> c_long {
    // SAFETY: the caller answers for it.
    let (is_negative, number) = unsafe { number(text, end, base) };
    let number = if is_negative {
        number.and_then(|number| 0_i64.checked_sub_unsigned(number))
    } else {
        number.and_then(|number| number.try_into().ok())
    };
    number.unwrap_or_else(|| out_of_range(if is_negative { c_long::MIN } else { c_long::MAX }))
}

/// In the place of strtoul(3), with which the C library counts processors.
///
/// # Safety
/// `text` is a C string, `end` null or a place for a pointer.
pub unsafe extern "C" fn strtoul(text: *const c_char, end: *mut *const c_char, base: c_int) -> c_ulong {
    // SAFETY: the caller answers for it.
    let (is_negative, number) = unsafe { number(text, end, base) };
    let number = number.map(|number| if is_negative { number.wrapping_neg() } else { number });
    number.unwrap_or_else(|| out_of_range(c_ulong::MAX))
}

fn out_of_range<T>(nearest: T) -> T {
    nix::errno::Errno::ERANGE.set();
    nearest
}

/// The sign and the digits of a number after blanks, by the rules of strtol(3); `None` is one of more than 64 bits.
///
/// # Safety
/// As of [`strtol`].
unsafe fn number(text: *const c_char, end: *mut *const c_char, base: c_int) -> (bool, Option<u64>) {
    // SAFETY: the caller answers for it.
    let bytes = unsafe { CStr::from_ptr(text) }.to_bytes();
    let sign = bytes.iter().take_while(|&byte| matches!(byte, b' ' | b'\t'..=b'\r')).count();
    let first = sign + usize::from(matches!(bytes.get(sign), Some(b'+' | b'-')));
    let has_prefix = matches!(&bytes[first..], [b'0', b'x' | b'X', digit, ..] if digit.is_ascii_hexdigit())
        && matches!(base, 0 | 16);
    let digits = if has_prefix { first + 2 } else { first };
    let base = match base {
        0 if has_prefix => 16,
        0 if bytes.get(first) == Some(&b'0') => 8,
        0 => 10,
        2..=36 => base.unsigned_abs(),
        _ => {
            nix::errno::Errno::EINVAL.set();
            return (false, Some(0));
        }
    };
    let value = |byte: &u8| char::from(*byte).to_digit(36).filter(|&digit| digit < base);
    let (mut behind, mut number) = (digits, Some(0_u64));
    while let Some(digit) = bytes.get(behind).and_then(value) {
        number = number.and_then(|number| number.checked_mul(base.into())?.checked_add(digit.into()));
        behind += 1;
    }
    if !end.is_null() {
        // SAFETY: the offset is one into the string, or of its end.
        unsafe { *end = text.add(if behind > digits { behind } else { 0 }) };
    }
    (bytes.get(sign) == Some(&b'-'), number)
}

#[cfg(all(test, target_env = "gnu"))]
mod tests {
    use nix::errno::Errno;

    use super::*;

    #[test]
    fn numbers_are_read_as_the_c_library_does() {
        for (text, base) in [
            c"0",
            c"17",
            c" \t\n+8 rest",
            c"-3",
            c"0-7",
            c"x",
            c"-",
            c"",
            c"  ",
            c"9223372036854775807",
            c"9223372036854775808",
            c"-9223372036854775808",
            c"-9223372036854775809",
            c"18446744073709551615",
            c"18446744073709551616",
            c"-18446744073709551615",
            c"-99999999999999999999999",
            c"0x1F",
            c"-0Xg",
            c"0x",
            c"0",
            c"017 8",
            c"089",
            c"101102",
            c"zZ~",
            c"0b11",
            c"\xff",
        ]
        .into_iter()
        .flat_map(|text| [0, 2, 8, 10, 16, 36, 1, -1, 37].map(|base| (text, base)))
        {
            let (text, mut ours, mut theirs) = (text.as_ptr(), std::ptr::null(), std::ptr::null_mut());
            let errno = Errno::last_raw;
            Errno::clear();
            // SAFETY: C strings, and places for pointers.
            let (own, own_errno) = unsafe { (strtol(text, &raw mut ours, base), errno()) };
            Errno::clear();
            // SAFETY: as above.
            let (expected, expected_errno) = unsafe { (libc::strtol(text, &raw mut theirs, base), errno()) };
            // SAFETY: `text` is one.
            let shown = unsafe { CStr::from_ptr(text) };
            assert_eq!((own, own_errno, ours), (expected, expected_errno, theirs.cast_const()), "{shown:?} {base}");
            Errno::clear();
            // SAFETY: as above.
            let (own, own_errno) = unsafe { (strtoul(text, std::ptr::null_mut(), base), errno()) };
            Errno::clear();
            // SAFETY: as above.
            let (expected, expected_errno) = unsafe { (libc::strtoul(text, std::ptr::null_mut(), base), errno()) };
            assert_eq!((own, own_errno), (expected, expected_errno), "{shown:?} {base}");
        }
    }

    #[test]
    fn the_text_of_an_unknown_error_fits_its_room() {
        let fits = [
            (0, "x"),
            (1, ""),
            (5, "Unkn"),
            (18, "Unknown error 400"),
            (19, "Unknown error 4000"),
            (32, "Unknown error 4000"),
        ];
        for (room, expected) in fits {
            let mut bytes = [b'x'.cast_signed() as c_char; 40];
            bytes[39] = 0;
            // SAFETY: it is no larger than the array, and the others are C strings.
            let (length, text) = unsafe {
                let to = bytes.as_mut_ptr();
                (unknown_error(to, room, c"%s%d".as_ptr(), c"Unknown error ".as_ptr(), 4000), CStr::from_ptr(to))
            };
            assert_eq!(length, 18);
            assert!(text.to_str().unwrap().starts_with(expected));
            assert!(room == 0 || text.count_bytes() == expected.len());
        }
    }
}
