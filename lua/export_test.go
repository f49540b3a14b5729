package lua

// Sources returns the scripts' texts.
func Sources() map[string]string {
	return map[string]string{
		"acquire": acquireSource, "save": saveSource, "savejoined": saveJoinedSource, "release": releaseSource,
		"invalidate": invalidateSource, "reclaim": reclaimSource, "identity": identitySource, "find": findSource, "vouch": vouchSource, "lease": leaseSource,
	}
}
