//go:build unix

package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// watched holds the objects of a kind, as a watch reports them.
type watched[T client.Object] struct {
	mu      sync.Mutex
	objects map[client.ObjectKey]T
	last    time.Time     // when the last change was seen
	changed chan struct{} // closed at the next change
}

// watch starts to watch a kind.
func watch[T client.Object](ctx context.Context, from cache.Cache, kind T) (*watched[T], error) {
	w := &watched[T]{objects: map[client.ObjectKey]T{}, changed: make(chan struct{})}
	informer, err := from.GetInformer(ctx, kind)
	if err != nil {
		return nil, fmt.Errorf("watching %T: %w", kind, err)
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { w.note(o, false) },
		UpdateFunc: func(_, o any) { w.note(o, false) },
		DeleteFunc: func(o any) {
			if deleted, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
				o = deleted.Obj
			}
			w.note(o, true)
		},
	})
	if err != nil {
		return nil, fmt.Errorf("watching %T: %w", kind, err)
	}
	return w, nil
}

func (w *watched[T]) note(o any, deleted bool) {
	object, ok := o.(T)
	if !ok {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	key := client.ObjectKeyFromObject(object)
	w.objects[key] = object
	if deleted {
		delete(w.objects, key)
	}
	w.last = time.Now()
	close(w.changed)
	w.changed = make(chan struct{})
}

// timeout is for each wait, on a busy machine.
const timeout = 2 * time.Minute

// until waits until holds is true for all objects, and returns the time of the change that made it true.
func (w *watched[T]) until(ctx context.Context, what string, holds func(map[client.ObjectKey]T) bool) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		w.mu.Lock()
		changed, last, yes := w.changed, w.last, holds(w.objects)
		w.mu.Unlock()
		if yes {
			return last, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("waiting for %s: %w", what, ctx.Err())
		}
	}
}

// count counts the objects for which holds is true.
func (w *watched[T]) count(holds func(T) bool) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, o := range w.objects {
		if holds(o) {
			n++
		}
	}
	return n
}

// one waits until holds is true for one object, and returns the object and the time.
func (w *watched[T]) one(ctx context.Context, what string, key client.ObjectKey, holds func(T) bool) (found T, at time.Time, err error) {
	at, err = w.until(ctx, what, func(all map[client.ObjectKey]T) bool {
		o, ok := all[key]
		found = o
		return ok && holds(o)
	})
	return found, at, err
}
