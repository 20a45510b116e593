package fields

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Why a document is refused, beside its syntax.
var (
	ErrEncoding      = errors.New("invalid UTF-8")
	ErrSurrogate     = errors.New("half a surrogate pair")
	ErrDuplicateName = errors.New("repeated field name")
	ErrDepth         = errors.New("nested too deeply") // more than 10,000 levels
)

var (
	errTrailing = errors.New("more than one value")
	errTooShort = errors.New("the document ends too early")
)

// quotesNothing reports whether an error's text quotes nothing of the document.
func quotesNothing(err error) bool {
	return slices.ContainsFunc([]error{ErrEncoding, ErrSurrogate, ErrDuplicateName, ErrDepth, errTrailing, errTooShort}, func(known error) bool { return errors.Is(err, known) })
}

// Error says where and why a document was refused. It quotes a dozen characters of
// the document at most.
type Error struct {
	// Offset is in bytes from the start, at the offending text or shortly before it.
	Offset int64
	// Err is one of the errors above, or says what is wrong with the syntax.
	Err error
}

func (e *Error) Error() string { return fmt.Sprintf("parse JSON at byte %d: %v", e.Offset, e.Err) }
func (e *Error) Unwrap() error { return e.Err }

// isSurrogate reports whether b starts with \ud800 to \udfff.
func isSurrogate(b []byte) bool {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return false
	}
	v, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	return err == nil && utf16.IsSurrogate(rune(v))
}

// explain turns an error of the decoder, which read the document up to offset.
func explain(doc []byte, err error, offset int64) error {
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) {
		offset, err = syntax.ByteOffset, syntax.Err
	}
	offset = min(max(offset, 0), int64(len(doc)))
	rest := doc[offset:]
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		err = errTooShort
	case errors.Is(err, jsontext.ErrDuplicateName):
		err = ErrDuplicateName
	case err.Error() == "exceeded max depth":
		err = ErrDepth
	case isSurrogate(rest):
		err = ErrSurrogate
	case !utf8.Valid(rest[:min(len(rest), utf8.UTFMax)]):
		err = ErrEncoding
	}
	return &Error{offset, err}
}

// sqlState returns the code that PostgreSQL has for what is wrong with a document.
func sqlState(err error) string {
	switch {
	case errors.Is(err, ErrEncoding), errors.Is(err, ErrSurrogate):
		return "22021" // character_not_in_repertoire
	case errors.Is(err, ErrDuplicateName):
		return "22030" // duplicate_json_object_key_value
	case errors.Is(err, ErrDepth):
		return "54001" // statement_too_complex
	}
	return "22P02" // invalid_text_representation
}
