// Package schemaid finds by which id a record names the schema it was written with: before its bytes, as Confluent's
// serializers have it, or in a header. It knows no registry, and nothing of what the bytes mean.
package schemaid

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"

	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/looks"
)

// Spaces of names. A number means one schema in each, and not the same one.
const (
	Confluent = "id"        // int32; what speaks Confluent's protocol hands them out
	GUID      = "guid"      // of a schema's text, the same in every registry
	Content   = "contentId" // of Apicurio
	Global    = "globalId"  // of Apicurio
)

// ID is a [event.SchemaRef] that takes no memory of its own: it may be made for each record, and compared.
type ID struct {
	space  uint8 // into spaces, 0 if there is no id
	number uint64
	guid   [16]byte
}

var spaces = [...]string{isConfluent: Confluent, isGUID: GUID, isContent: Content, isGlobal: Global}

const (
	isConfluent = iota + 1
	isGUID
	isContent
	isGlobal
)

// Ref returns the reference that people and sources of schemas read.
func (id ID) Ref() event.SchemaRef {
	if id.space == isGUID {
		g := hex.EncodeToString(id.guid[:])
		return event.SchemaRef{Space: GUID, ID: g[:8] + "-" + g[8:12] + "-" + g[12:16] + "-" + g[16:20] + "-" + g[20:]}
	}
	return event.SchemaRef{Space: spaces[id.space], ID: strconv.FormatUint(id.number, 10)}
}

// Of is what Ref was made of.
func Of(ref event.SchemaRef) (id ID, err error) {
	id.space = uint8(max(slices.Index(spaces[:], ref.Space), 0))
	switch id.space {
	case isGUID:
		if g := ref.ID; len(g) == 36 && g[8] == '-' && g[13] == '-' && g[18] == '-' && g[23] == '-' {
			var b []byte
			if b, err = hex.DecodeString(g[:8] + g[9:13] + g[14:18] + g[19:23] + g[24:]); err == nil {
				id.guid = [16]byte(b)
				return id, nil
			}
		}
	case isConfluent, isContent, isGlobal:
		if id.number, err = strconv.ParseUint(ref.ID, 10, 64); err == nil {
			return id, nil
		}
	}
	return ID{}, fmt.Errorf("no record names a schema %v", ref)
}

// code is that of records that name no schema.
const code = "ONS21"

func refuse(message string) error {
	return &event.Refusal{Code: code, Message: message, Plain: true}
}

// names are the headers that name schemas, of values and of keys.
type names struct{ confluent, content, global, encoding string }

var (
	ofValues = names{"__value_schema_id", "apicurio.value.contentId", "apicurio.value.globalId", "apicurio.value.encoding"}
	ofKeys   = names{"__key_schema_id", "apicurio.key.contentId", "apicurio.key.globalId", "apicurio.key.encoding"}
)

// Cut takes apart what a value, or a key, is: the id of its schema and the payload. Headers come before what the bytes look
// like, as for Confluent's own deserializers; the last header of a name counts. rest is what follows the id in a header:
// a Protobuf message's indexes, which otherwise begin the payload; inHeader says where the id was. An error is a *[event.Refusal].
func Cut(doc []byte, h event.Headers, key bool) (id ID, payload, rest []byte, inHeader bool, err error) {
	n := &ofValues
	if key {
		n = &ofKeys
	}
	if v, ok := h.Header(n.confluent); ok {
		id, rest, err = confluentHeader(n.confluent, v)
		return id, doc, rest, true, err
	}
	id.space = isContent
	v, ok := h.Header(n.content)
	if !ok {
		id.space = isGlobal
		v, ok = h.Header(n.global)
	}
	if ok {
		if len(v) != 8 {
			return ID{}, nil, nil, false, refuse(fmt.Sprintf("the header of Apicurio's registry with the %s has %d bytes, not 8", spaces[id.space], len(v)))
		}
		if e, ok := h.Header(n.encoding); ok && string(e) == "JSON" {
			return ID{}, nil, nil, false, refuse("header " + n.encoding + " says that it is encoded as JSON, not in binary")
		}
		id.number = binary.BigEndian.Uint64(v)
		return id, doc, nil, true, nil
	}
	id, payload, err = prefix(doc)
	return id, payload, nil, false, err
}

func confluentHeader(name string, v []byte) (id ID, rest []byte, err error) {
	switch {
	case len(v) >= 17 && v[0] == 1:
		return ID{space: isGUID, guid: [16]byte(v[1:17])}, v[17:], nil
	case len(v) >= 5 && v[0] == 0:
		return ID{space: isConfluent, number: uint64(binary.BigEndian.Uint32(v[1:]))}, v[5:], nil
	}
	return ID{}, nil, refuse(fmt.Sprintf("header %s is no schema id: it has %d bytes, and neither 01 and a GUID nor 00 and four bytes", name, len(v)))
}

// prefix reads the zero byte and the id before a payload. Registries count from 1, so that an id of four zero bytes is the
// beginning of one of eight, as Apicurio 2 writes them by default.
func prefix(doc []byte) (id ID, payload []byte, err error) {
	switch {
	case len(doc) == 0:
		return ID{}, nil, refuse("no schema id: there is not a byte")
	case doc[0] == 3 && len(doc) >= 18 && (doc[1] == 0 || doc[1] == 5):
		return ID{}, nil, refuse("no schema id: it looks like a record of the AWS Glue schema registry, which is not read")
	case doc[0] == 0xc3 && len(doc) >= 10 && doc[1] == 1:
		return ID{}, nil, refuse("no schema id: it looks like Avro's single object encoding, which is not read")
	case doc[0] != 0:
		like := looks.Like([][]byte{doc})
		switch {
		case looks.Plain(like):
			like = "a JSON object" // without the names of its fields
		case like == "":
			like = "nothing that is known"
		}
		return ID{}, nil, refuse("no schema id: no zero byte comes first, and no header has one; it looks like " + like)
	case len(doc) < 5:
		return ID{}, nil, refuse(fmt.Sprintf("no schema id: a zero byte comes first, and only %d bytes after it", len(doc)-1))
	}
	if number := binary.BigEndian.Uint32(doc[1:]); number != 0 {
		return ID{space: isConfluent, number: uint64(number)}, doc[5:], nil
	}
	if len(doc) >= 9 {
		if number := binary.BigEndian.Uint32(doc[5:]); number != 0 {
			return ID{space: isGlobal, number: uint64(number)}, doc[9:], nil
		}
	}
	return ID{}, nil, refuse("no schema id: it would be 0, which no registry hands out")
}
