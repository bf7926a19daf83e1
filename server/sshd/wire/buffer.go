package wire

import "sync"

// Sizes of borrowed memory in bytes. A read of BulkSize takes all that a socket usually holds, so that one system call
// serves eight packets; BriefSize is one full SSH packet, enough for whatever is not bulk.
const (
	BulkSize  = 256 << 10
	BriefSize = 32 << 10
)

// Buffer is memory that is borrowed while data moves and given back as soon as there is none.
type Buffer struct {
	// Data is all of the memory, or what [Reader.Next] has read into it.
	Data []byte
	pool *sync.Pool
}

var bulkPool, briefPool sync.Pool

func init() {
	bulkPool.New = func() any { return &Buffer{make([]byte, BulkSize), &bulkPool} }
	briefPool.New = func() any { return &Buffer{make([]byte, BriefSize), &briefPool} }
}

// BorrowBulk returns a buffer of BulkSize.
func BorrowBulk() *Buffer { return bulkPool.Get().(*Buffer) }

// BorrowBrief returns a buffer of BriefSize.
func BorrowBrief() *Buffer { return briefPool.Get().(*Buffer) }

// Free gives the buffer back; the caller must not use it any more.
func (b *Buffer) Free() {
	b.Data = b.Data[:cap(b.Data)]
	b.pool.Put(b)
}
