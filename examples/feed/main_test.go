package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFeedShowsEveryStep(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(&out, "", ""))
	require.Equal(t, `I follow a thousand. The list is read once, and kept:
  1000 in all, 10 today, the newest are 1009 1008 1007; asked the database 1 times
Asked again:
  1000 in all, 10 today, the newest are 1009 1008 1007; asked the database 0 times
I follow one more. That row alone is read:
  1001 in all, 11 today, the newest are 2 1009 1008; asked the database 1 times
I unfollow one, and somebody else follows me:
  1000 in all, 10 today, the newest are 2 1009 1008; asked the database 1 times
Do I follow 2? true
Do I follow 1000? false
`, out.String())
}
