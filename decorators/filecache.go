package decorators

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// FileCache is a Cache in a directory, which processes of one machine may share.
//
// Each value is a file, named by a digest of its key. A writer makes a file of
// its own and renames it, so that readers see the old value or the new one, and
// concurrent writers do each other no harm. Files are not synced to the disk:
// one that a crash of the machine has torn fails its checksum and is a miss.
// Expired files are misses and stay until Clean removes them; call it now and
// then.
type FileCache struct {
	dir string
	now func() time.Time
}

var _ Cache = (*FileCache)(nil)

// NewFileCache returns the cache in a directory, which it makes, for this user
// only, if there is none.
func NewFileCache(dir string) (*FileCache, error) {
	if dir == "" {
		return nil, errors.New("decorators: file cache: the directory is empty: name one")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("decorators: file cache: %w", err)
	}
	return &FileCache{dir: dir, now: time.Now}, nil
}

// A file is the magic, the expiry in nanoseconds since 1970 (zero is never), the
// CRC-32C of key digest, expiry and value, and the value.
const (
	fileMagic      = "cpF1"
	fileHeaderSize = len(fileMagic) + 8 + 4
	tempPrefix     = ".new-"
	// staleTemp is the age at which a temporary file has surely been left
	// behind by a crash.
	staleTemp = time.Hour
)

// Get implements Cache. A file that is damaged is a miss.
func (c *FileCache) Get(ctx context.Context, key string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	digest, path := c.locate(key)
	content, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, ErrMiss
	case err != nil:
		return nil, fmt.Errorf("decorators: file cache: get: %w", err)
	}
	value, expiry, ok := parseFile(digest, content)
	if !ok || expired(expiry, c.now()) {
		return nil, ErrMiss
	}
	return value, nil
}

// Set implements Cache.
func (c *FileCache) Set(ctx context.Context, key string, value []byte, timeout time.Duration) (err error) {
	if timeout < 0 {
		return errTimeout
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("decorators: file cache: set: %w", err)
		}
	}()
	var expiry int64
	if timeout > 0 {
		expiry = c.now().Add(timeout).UnixNano()
	}
	digest, path := c.locate(key)
	f, err := c.create(filepath.Dir(path))
	if err != nil {
		return err
	}
	_, err = f.Write(makeFile(digest, expiry, value))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// create makes a temporary file in a shard, which Clean may remove meanwhile.
func (c *FileCache) create(shard string) (*os.File, error) {
	f, err := os.CreateTemp(shard, tempPrefix)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	if err := os.MkdirAll(shard, 0o700); err != nil {
		return nil, err
	}
	return os.CreateTemp(shard, tempPrefix)
}

// Delete implements Cache.
func (c *FileCache) Delete(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	_, path := c.locate(key)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("decorators: file cache: delete: %w", err)
	}
	return nil
}

// locate names a key's file: nothing of the key itself gets into the path.
func (c *FileCache) locate(key string) (digest [sha256.Size]byte, path string) {
	digest = sha256.Sum256([]byte(key))
	name := hex.EncodeToString(digest[:])
	return digest, filepath.Join(c.dir, name[:2], name[2:])
}

func makeFile(digest [sha256.Size]byte, expiry int64, value []byte) []byte {
	b := make([]byte, 0, fileHeaderSize+len(value))
	b = append(b, fileMagic...)
	b = binary.LittleEndian.AppendUint64(b, uint64(expiry))
	b = binary.LittleEndian.AppendUint32(b, checksum(digest, b[len(fileMagic):], value))
	return append(b, value...)
}

func parseFile(digest [sha256.Size]byte, content []byte) (value []byte, expiry int64, ok bool) {
	if len(content) < fileHeaderSize || !bytes.HasPrefix(content, []byte(fileMagic)) {
		return nil, 0, false
	}
	rest := content[len(fileMagic):]
	value = content[fileHeaderSize:]
	if binary.LittleEndian.Uint32(rest[8:]) != checksum(digest, rest[:8], value) {
		return nil, 0, false
	}
	return value, int64(binary.LittleEndian.Uint64(rest)), true
}

func checksum(digest [sha256.Size]byte, parts ...[]byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(0, table, digest[:])
	for _, p := range parts {
		sum = crc32.Update(sum, table, p)
	}
	return sum
}

func expired(expiry int64, now time.Time) bool { return expiry != 0 && now.UnixNano() >= expiry }

// Cleaned is what Clean did.
type Cleaned struct {
	// Seen files were looked at, Removed ones deleted; Kept is the size in
	// bytes of those that stayed.
	Seen, Removed int
	Kept          int64
}

// Clean removes expired and damaged files, and what crashes left behind. It
// looks at no more than limit files, beginning anywhere; zero is no limit. It
// reads their headers only. Values that are stored again while they are removed
// may be lost, which is a miss.
func (c *FileCache) Clean(ctx context.Context, limit int) (Cleaned, error) {
	var done Cleaned
	shards, err := os.ReadDir(c.dir)
	if err != nil {
		return done, fmt.Errorf("decorators: file cache: clean: %w", err)
	}
	if len(shards) == 0 {
		return done, nil
	}
	first := rand.IntN(len(shards))
	for i := range shards {
		shard := shards[(first+i)%len(shards)]
		if !shard.IsDir() || !isHash(shard.Name(), 2) {
			continue // not ours
		}
		if err := c.cleanShard(ctx, filepath.Join(c.dir, shard.Name()), limit, &done); err != nil {
			return done, fmt.Errorf("decorators: file cache: clean: %w", err)
		}
		if limit > 0 && done.Seen >= limit {
			break
		}
	}
	return done, nil
}

func (c *FileCache) cleanShard(ctx context.Context, shard string, limit int, done *Cleaned) error {
	files, err := os.ReadDir(shard)
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		if limit > 0 && done.Seen >= limit {
			return nil
		}
		if !strings.HasPrefix(f.Name(), tempPrefix) && !isHash(f.Name(), 2*sha256.Size-2) {
			continue // not ours
		}
		info, err := f.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // another cleaner or writer was faster
		}
		if err != nil {
			return err
		}
		done.Seen++
		path := filepath.Join(shard, f.Name())
		keep, err := c.keep(path, info)
		if err != nil {
			return err
		}
		if keep {
			done.Kept += info.Size()
			continue
		}
		switch err := os.Remove(path); {
		case err == nil:
			done.Removed++
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	return nil
}

// isHash tells whether a name is a number of hexadecimal digits as this cache
// writes them, so that a directory of other files given by mistake stays whole.
func isHash(name string, digits int) bool {
	return len(name) == digits && strings.Trim(name, "0123456789abcdef") == ""
}

// keep tells whether a file is of use, or not ours to judge.
func (c *FileCache) keep(path string, info fs.FileInfo) (bool, error) {
	if !info.Mode().IsRegular() {
		return true, nil
	}
	if strings.HasPrefix(info.Name(), tempPrefix) {
		return c.now().Sub(info.ModTime()) < staleTemp, nil
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	header := make([]byte, fileHeaderSize)
	switch _, err := io.ReadFull(f, header); {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return false, nil
	case err != nil:
		return false, err
	}
	expiry := int64(binary.LittleEndian.Uint64(header[len(fileMagic):]))
	return bytes.HasPrefix(header, []byte(fileMagic)) && !expired(expiry, c.now()), nil
}
