package guest

import (
	"sync"
	"unsafe"
)

// Values cross to the host in memory, as the component model's canonical ABI lays them out. Pointers of Go have 64 bits
// here, addresses 32, so nothing there is a struct of Go.

var (
	// One call at a time: goroutines share what follows.
	calling sync.Mutex
	// What the host allocated for what it returns, until that is read.
	returned [][]uint64
	// What the host reads in this call. It also makes it live in the heap, where it does not move.
	held []unsafe.Pointer
	// Where the host writes results. The largest, of receive, has 192 bytes.
	area [32]uint64
)

func begin() { calling.Lock() }

func end() {
	clear(returned)
	returned = returned[:0]
	clear(held)
	held = held[:0]
	calling.Unlock()
}

func resultArea() uint32 { return address(unsafe.Pointer(&area)) }

func address(p unsafe.Pointer) uint32 { return uint32(uintptr(p)) }

func pointer(p uint32) unsafe.Pointer { return unsafe.Add(unsafe.Pointer(nil), p) }

// Tells the adapter that Go's runtime may not call the host now.
//
//go:wasmimport wasi_snapshot_preview1 guesthouse_allocating
func setAllocating(allocating uint32)

// What the host returns is allocated here.
func realloc(old unsafe.Pointer, oldSize, align, size uint32) unsafe.Pointer {
	if size == 0 {
		return pointer(align)
	}
	setAllocating(1)
	made := make([]uint64, (uint64(size)+7)/8)
	returned = append(returned, made)
	setAllocating(0)
	at := unsafe.Pointer(&made[0])
	if oldSize > 0 {
		copy(unsafe.Slice((*byte)(at), size), unsafe.Slice((*byte)(old), min(oldSize, size)))
	}
	return at
}

// Two names, and not cabi_realloc: what is called so is also called before Go's runtime is ready.

//go:wasmexport cabi_import_realloc
func importRealloc(old unsafe.Pointer, oldSize, align, size uint32) unsafe.Pointer {
	return realloc(old, oldSize, align, size)
}

//go:wasmexport cabi_export_realloc
func exportRealloc(old unsafe.Pointer, oldSize, align, size uint32) unsafe.Pointer {
	return realloc(old, oldSize, align, size)
}

func load[T any](p uint32) T { return *(*T)(pointer(p)) }

func store[T any](p uint32, value T) { *(*T)(pointer(p)) = value }

// The bytes are the host's copy for this call alone, so they need no other.
func loadString(p uint32) string {
	return unsafe.String((*byte)(pointer(load[uint32](p))), load[uint32](p+4))
}

func loadBytes(p uint32) []byte {
	return unsafe.Slice((*byte)(pointer(load[uint32](p))), load[uint32](p+4))
}

func stringAt(s string) (uint32, uint32) {
	data := unsafe.Pointer(unsafe.StringData(s))
	held = append(held, data)
	return address(data), uint32(len(s))
}

func bytesAt(b []byte) (uint32, uint32) {
	data := unsafe.Pointer(unsafe.SliceData(b))
	held = append(held, data)
	return address(data), uint32(len(b))
}

func storeString(p uint32, s string) {
	at, size := stringAt(s)
	store(p, at)
	store(p+4, size)
}

func storeBytes(p uint32, b []byte) {
	at, size := bytesAt(b)
	store(p, at)
	store(p+4, size)
}

// Memory for what the host reads in this call.
func allocate(size uint32) uint32 {
	made := make([]uint64, (uint64(size)+7)/8+1)
	at := unsafe.Pointer(&made[0])
	held = append(held, at)
	return address(at)
}

func number(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}

//go:wasmexport guesthouse:process/guest@0.1.0#run
func exportedRun(node unsafe.Pointer, nodeLen uint32, process unsafe.Pointer, processLen uint32, pack unsafe.Pointer, packLen uint32, publisher unsafe.Pointer, publisherLen uint32) {
	text := func(at unsafe.Pointer, size uint32) string { return string(unsafe.Slice((*byte)(at), size)) }
	our = Address{
		Node: text(node, nodeLen),
		Process: ProcessID{
			ProcessName:   text(process, processLen),
			PackageName:   text(pack, packLen),
			PublisherNode: text(publisher, publisherLen),
		},
	}
	clear(returned)
	returned = returned[:0]
	run()
}
