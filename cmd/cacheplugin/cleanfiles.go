package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cacheplugin/cacheplugin/decorators"
)

func (a *app) cleanFilesCommand() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:   "cleanfiles directory",
		Short: "Remove what has expired from the directory of a file cache",
		Long: `Remove expired and damaged files from the directory of a file cache
(decorators.NewFileCache), which keeps them until this is called. Programs may go
on using it meanwhile. Run it now and then, for example by cron. A directory that
holds anything else is left alone.`,
		Example: "  cacheplugin cleanfiles /var/cache/shop\n  cacheplugin cleanfiles --limit 10000 /var/cache/shop",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.cleanFiles(cmd.Context(), args[0], limit)
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 0, "how many files to look at, beginning anywhere; 0: all")
	return cmd
}

// cleaned is the outcome of the command.
type cleaned struct {
	Seen    int   `json:"seen"`
	Removed int   `json:"removed"`
	Kept    int64 `json:"kept_bytes"`
}

func (c *cleaned) text(w io.Writer) {
	_, _ = fmt.Fprintf(w, "removed %d of %d files, %s left\n", c.Removed, c.Seen, size(c.Kept))
}

func (a *app) cleanFiles(ctx context.Context, dir string, limit int) error {
	if limit < 0 {
		return usage(fmt.Errorf("--limit %d", limit), "give the number of files, or 0 for all")
	}
	// Whatever is not in the cache's form counts as damaged there, and goes.
	foreign, err := foreignFile(dir)
	if err != nil {
		return problem(err, "name the directory that the program gave to NewFileCache")
	}
	if foreign != "" {
		return problem(fmt.Errorf("%s is not a file cache: it holds %s", dir, foreign), "nothing was removed; name the directory that the program gave to NewFileCache")
	}
	cache, err := decorators.NewFileCache(dir)
	if err != nil {
		return problem(err, "")
	}
	done, err := cache.Clean(ctx, limit)
	if err != nil {
		return problem(err, "run it as the user that the program runs as")
	}
	return a.print(&cleaned{done.Seen, done.Removed, done.Kept})
}

// foreignFile returns the path of something in a directory that no file cache
// has put there, empty if there is none.
func foreignFile(dir string) (string, error) {
	shards, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	for _, shard := range shards {
		path := filepath.Join(dir, shard.Name())
		if !shard.IsDir() || !isDigest(shard.Name(), 2) {
			return path, nil
		}
		files, err := os.ReadDir(path)
		if err != nil {
			return "", err
		}
		for _, f := range files {
			if f.IsDir() || !isDigest(f.Name(), 62) && !strings.HasPrefix(f.Name(), ".new-") {
				return filepath.Join(path, f.Name()), nil
			}
		}
	}
	return "", nil
}

// isDigest reports whether a name is made of so many hexadecimal digits.
func isDigest(name string, digits int) bool {
	_, err := hex.DecodeString(name)
	return err == nil && len(name) == digits && name == strings.ToLower(name)
}
