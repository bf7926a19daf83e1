package wire

import "sync"

// Sizes of borrowed memory in bytes. A read of BulkSize takes all that a socket usually holds, so that one system call
// serves eight packets; BriefSize is one full SSH packet, enough for whatever is not bulk.
const (
	BulkSize  = 256 << 10
	BriefSize = 32 << 10
)

// bulkPlaces bounds the large buffers that are borrowed for targets: one that stalls keeps its own.
const bulkPlaces = 64

// Buffer is memory that is borrowed while data moves and given back as soon as there is none.
type Buffer struct {
	// Data is all of the memory, or what [Reader.Next] has read into it.
	Data   []byte
	pool   *sync.Pool
	placed bool // it has one of places
}

var (
	bulkPool, briefPool sync.Pool
	places              = make(chan struct{}, bulkPlaces)
)

func init() {
	bulkPool.New = func() any { return &Buffer{Data: make([]byte, BulkSize), pool: &bulkPool} }
	briefPool.New = func() any { return &Buffer{Data: make([]byte, BriefSize), pool: &briefPool} }
}

// BorrowBulk returns a buffer of BulkSize, or nil if there are too many of them.
func BorrowBulk() *Buffer {
	select {
	case places <- struct{}{}:
		b := bulkPool.Get().(*Buffer)
		b.placed = true
		return b
	default:
		return nil
	}
}

// BorrowBrief returns a buffer of BriefSize.
func BorrowBrief() *Buffer { return briefPool.Get().(*Buffer) }

// Free gives the buffer back; the caller must not use it any more.
func (b *Buffer) Free() {
	if b.placed {
		b.placed = false
		<-places
	}
	b.Data = b.Data[:cap(b.Data)]
	b.pool.Put(b)
}
