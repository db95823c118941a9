package replica

// SetFit says whether the layers above find this node fit to lead, which it is until they say otherwise: they may know
// of a wrong clock, for example. It works like the fitness that the replica judges by itself (ApplyErr): a leader that
// becomes unfit hands over, or steps down if nobody can take over, and an unfit node votes and acknowledges, but does not
// campaign. It does not wait.
func (r *Replica) SetFit(fit bool) {
	// The inbox refuses only when the replica stops, and then it leads nothing.
	_ = r.inbox.put(func(a *arrivals) error {
		a.fit = &fit
		return nil
	})
}

// SetFit takes the judgement of the layers above.
func (h *Handler) SetFit(fit bool) {
	if h.err == nil {
		h.barred = !fit
		h.refit()
	}
}

// refit tells the core when the sum of all judgements has changed.
func (h *Handler) refit() {
	if fit := !h.barred && h.applying.err == nil && !h.roomUnfit(); fit == h.unfit {
		h.unfit = !fit
		h.node.SetFit(fit)
		h.changed = true
	}
}
