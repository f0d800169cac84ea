/* Intrusive doubly linked list. A node is on at most one list; an unlinked node is zero. */
#ifndef HESTIA_BASE_LIST_H
#define HESTIA_BASE_LIST_H

#include "base/base.h"

struct list {
    struct list *next, *prev;
};

#define LIST_INIT(list)                                                                                      \
    {                                                                                                        \
        &(list), &(list)                                                                                     \
    }

static inline void list_init(struct list *head)
{
    head->next = head->prev = head;
}

static inline bool list_empty(const struct list *head)
{
    return head->next == head || !head->next;
}

static inline bool list_linked(const struct list *node)
{
    return node->next != NULL;
}

static inline void list_insert_after(struct list *at, struct list *node)
{
    node->prev = at;
    node->next = at->next;
    at->next->prev = node;
    at->next = node;
}

static inline void list_push_back(struct list *head, struct list *node)
{
    list_insert_after(head->prev, node);
}

static inline void list_push_front(struct list *head, struct list *node)
{
    list_insert_after(head, node);
}

/* Harmless on an unlinked node. */
static inline void list_remove(struct list *node)
{
    if (!node->next)
        return;
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->next = node->prev = NULL;
}

static inline struct list *list_pop_front(struct list *head)
{
    if (list_empty(head))
        return NULL;
    struct list *node = head->next;
    list_remove(node);
    return node;
}

#define LIST_EACH(variable, head)                                                                            \
    for (struct list *variable = (head)->next; variable != (head); variable = variable->next)
/* The current node may be removed in the body. */
#define LIST_EACH_SAFE(variable, head)                                                                       \
    for (struct list *variable = (head)->next, *variable##_next = variable->next; variable != (head);        \
         variable = variable##_next, variable##_next = variable->next)

#endif
