package archive

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/oncesink/oncesink/offsets"
)

// A file is a sequence of frames of Zstandard (RFC 8878): skippable ones, which say what the others are, and compressed ones, which are parts of the partition's log.
// A skippable frame is a magic, the length of its payload, and the payload; all numbers are little-endian. Each payload ends with a CRC-32C of what
// the frame has before it.
const (
	headMagic  = 0x184D2A50 // the first frame
	blockMagic = 0x184D2A51 // before each compressed frame
	footMagic  = 0x184D2A5F // the last frame

	signature = "oncesink"
	version   = 1

	skippable = 8                                 // magic and length
	blockSize = skippable + 4 + 4 + 8 + 8 + 4 + 8 // of the frame before a compressed one
	footEnd   = 8                                 // the length of the last frame, and its checksum
	maxText   = 64 << 10                          // of the texts in the first and the last frame
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// head is what the first frame says, as JSON.
type head struct {
	Cluster   string `json:"cluster"`
	Topic     string `json:"topic"`
	TopicID   string `json:"topic_id"`
	Partition int32  `json:"partition"`
	First     int64  `json:"first"` // the first offset that is held
}

// foot is what the last frame says, as JSON. Times are in milliseconds since 1970, those of the records; -1 where there are none.
type foot struct {
	End      int64  `json:"end"` // the offset after the last one that is held
	Records  int64  `json:"records"`
	Blocks   int64  `json:"blocks"`
	LogBytes int64  `json:"log_bytes"` // of the log, decompressed
	MinTime  int64  `json:"min_time"`
	MaxTime  int64  `json:"max_time"`
	SHA256   string `json:"sha256"` // of all bytes before this frame
}

// block is what the frame before a compressed one says.
type block struct {
	stored, raw int // bytes of the compressed frame, and of what is in it
	first, end  int64
	records     int
	sum         uint32 // CRC-32C of the compressed frame
}

var errChecksum = errors.New("a checksum is wrong")

// seal appends the checksum of a frame.
func seal(frame []byte) []byte {
	return binary.LittleEndian.AppendUint32(frame, crc32.Checksum(frame, castagnoli))
}

// unseal returns a frame without its checksum.
func unseal(frame []byte) ([]byte, error) {
	n := len(frame) - 4
	if n < skippable || crc32.Checksum(frame[:n], castagnoli) != binary.LittleEndian.Uint32(frame[n:]) {
		return nil, errChecksum
	}
	return frame[:n], nil
}

func frame(magic uint32, payload int) []byte {
	out := binary.LittleEndian.AppendUint32(make([]byte, 0, skippable+payload), magic)
	return binary.LittleEndian.AppendUint32(out, uint32(payload))
}

func (h head) append() ([]byte, error) {
	text, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	out := frame(headMagic, len(signature)+2+len(text)+4)
	out = append(out, signature...)
	out = binary.LittleEndian.AppendUint16(out, version)
	return seal(append(out, text...)), nil
}

func parseHead(frame []byte) (h head, err error) {
	body, err := unseal(frame)
	if err != nil {
		return h, err
	}
	body = body[skippable:]
	if len(body) < len(signature)+2 || string(body[:len(signature)]) != signature {
		return h, errors.New("it does not begin as a file of oncesink")
	}
	body = body[len(signature):]
	if v := binary.LittleEndian.Uint16(body); v != version {
		return h, fmt.Errorf("its format is version %d, which this version of oncesink does not read: use a newer one", v)
	}
	return h, json.Unmarshal(body[2:], &h)
}

func (b block) append() []byte {
	out := frame(blockMagic, blockSize-skippable)
	out = binary.LittleEndian.AppendUint32(out, uint32(b.stored))
	out = binary.LittleEndian.AppendUint32(out, uint32(b.raw))
	out = binary.LittleEndian.AppendUint64(out, uint64(b.first))
	out = binary.LittleEndian.AppendUint64(out, uint64(b.end))
	out = binary.LittleEndian.AppendUint32(out, uint32(b.records))
	out = binary.LittleEndian.AppendUint32(out, b.sum)
	return seal(out)
}

func parseBlock(frame []byte) (b block, err error) {
	body, err := unseal(frame)
	if err != nil {
		return b, err
	}
	if len(frame) != blockSize {
		return b, errors.New("a block's frame has another length")
	}
	body = body[skippable:]
	stored, raw, records := binary.LittleEndian.Uint32(body), binary.LittleEndian.Uint32(body[4:]), binary.LittleEndian.Uint32(body[24:])
	b = block{
		stored: int(stored), raw: int(raw), records: int(records), sum: binary.LittleEndian.Uint32(body[28:]),
		first: int64(binary.LittleEndian.Uint64(body[8:])), end: int64(binary.LittleEndian.Uint64(body[16:])),
	}
	if stored > math.MaxInt32 || raw > math.MaxInt32 || records > math.MaxInt32 || b.first < 0 || b.end <= b.first {
		return b, errors.New("a block's frame makes no sense")
	}
	return b, nil
}

func (f foot) append() ([]byte, error) {
	text, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	out := frame(footMagic, len(text)+footEnd)
	out = append(out, text...)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(out)+footEnd))
	return seal(out), nil
}

func parseFoot(frame []byte) (f foot, err error) {
	body, err := unseal(frame)
	if err != nil {
		return f, err
	}
	if len(body) < skippable+4 || int(binary.LittleEndian.Uint32(body[len(body)-4:])) != len(frame) {
		return f, errors.New("the last frame has another length")
	}
	return f, json.Unmarshal(body[skippable:len(body)-4], &f)
}

// lastFrame is the last frame of what ends with one.
func lastFrame(content []byte) ([]byte, error) {
	if len(content) < skippable+footEnd {
		return nil, errors.New("it is too short")
	}
	size := int64(binary.LittleEndian.Uint32(content[len(content)-footEnd:]))
	if size > int64(len(content)) || size < skippable+footEnd {
		return nil, errors.New("its last frame has no length that makes sense")
	}
	frame := content[int64(len(content))-size:]
	if binary.LittleEndian.Uint32(frame) != footMagic {
		return nil, errors.New("it does not end as a file of oncesink")
	}
	return frame, nil
}

// matches says what of a file's first frame is not as its name has it.
func (h head) matches(f File) error {
	if h.Topic != f.Partition.Topic || h.TopicID != f.TopicID.String() || h.Partition != f.Partition.Partition || h.First != f.First {
		return fmt.Errorf("it is of %s, topic id %s, from offset %d on: it has another file's name", offsets.Partition{Topic: h.Topic, Partition: h.Partition}, h.TopicID, h.First)
	}
	return nil
}
